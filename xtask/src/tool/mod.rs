//! Reading the tree, running programs, asking cargo.

pub mod apt;
pub mod process;
pub mod rust;
pub mod tree;
pub mod workspace;
