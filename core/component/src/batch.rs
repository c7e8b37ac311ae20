//! Replay of recorded scenarios.

use alloc::vec::Vec;

use forebay_core::testing::{self, Scenario};

use crate::bindings::exports::forebay::core::types::Error;

/// Answers each frame (a scenario as postcard) with the bytes that the native core answers.
///
/// A frame that names servers which its own pool does not have may trap: frames come from the recorder.
//= COMP-PARITY-01
//= COMP-ARG-03
pub(crate) fn pick(frames: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, Error> {
    frames
        .iter()
        .map(|frame| {
            let scenario: Scenario = postcard::from_bytes(frame).map_err(|_| Error::BadFrame)?;
            Ok(testing::run(&scenario).to_bytes())
        })
        .collect()
}
