//! Every choice the product makes, as functions of explicit inputs.
