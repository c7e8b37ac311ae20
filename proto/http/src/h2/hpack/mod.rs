//! Header compression (RFC 7541).

mod decode;
mod encode;
mod fixed;
mod huffman;
mod integer;
mod kind;
mod table;

pub(crate) use decode::{Cursor, Decoder, Line};
pub(crate) use encode::{Encoder, Secrecy};
pub(crate) use kind::Kind;

#[cfg(test)]
mod tests;
