//! SETTINGS (RFC 9113 6.5, RFC 8441 3, RFC 9218 2.1).

use alloc::vec::Vec;

use super::error::Rule;
use super::frame::{self, SIZE_DEFAULT, WINDOW_DEFAULT, WINDOW_MAX};
use super::{Config, Role};

const TABLE_SIZE: u16 = 1;
const ENABLE_PUSH: u16 = 2;
const STREAMS_MAX: u16 = 3;
const INITIAL_WINDOW: u16 = 4;
const FRAME_MAX: u16 = 5;
const LIST_MAX: u16 = 6;
const ENABLE_CONNECT: u16 = 8;
const NO_OLD_PRIORITIES: u16 = 9;

/// What the peer has said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    pub table_size: u32,
    pub streams_max: u32,
    pub initial_window: u32,
    pub frame_max: u32,
    /// It takes extended CONNECT.
    pub connect: bool,
}

/// What counts until the peer's settings are here. The number of streams is not bounded then; we wait with more
/// than a hundred, which RFC 9113 6.5.2 has as the least that anybody should allow.
pub(crate) const PEER_DEFAULT: Peer = Peer {
    table_size: 4096,
    streams_max: 100,
    initial_window: WINDOW_DEFAULT,
    frame_max: SIZE_DEFAULT as u32,
    connect: false,
};

impl Peer {
    /// Takes over the content of a SETTINGS frame, whose length is a multiple of 6.
    //= H2-SET-02
    //= H2-SET-03
    pub(crate) fn read(&mut self, payload: &[u8], role: Role) -> Result<(), Rule> {
        let (settings, _) = payload.as_chunks::<6>();
        for &[a, b, rest @ ..] in settings {
            let value = u32::from_be_bytes(rest);
            match u16::from_be_bytes([a, b]) {
                TABLE_SIZE => self.table_size = value,
                ENABLE_PUSH if value > 1 || (value == 1 && role == Role::Client) => {
                    return Err(Rule::SettingsValue);
                }
                STREAMS_MAX => self.streams_max = value,
                INITIAL_WINDOW if value > WINDOW_MAX => return Err(Rule::SettingsWindow),
                INITIAL_WINDOW => self.initial_window = value,
                FRAME_MAX if !(SIZE_DEFAULT as u32..1 << 24).contains(&value) => {
                    return Err(Rule::SettingsValue);
                }
                FRAME_MAX => self.frame_max = value,
                // Once offered it stays (RFC 8441 3).
                ENABLE_CONNECT if value > 1 || (value == 0 && self.connect) => {
                    return Err(Rule::SettingsValue);
                }
                ENABLE_CONNECT => self.connect = value == 1,
                NO_OLD_PRIORITIES if value > 1 => return Err(Rule::SettingsValue),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Writes our own SETTINGS, those that differ from the defaults.
pub(crate) fn write(config: &Config, role: Role, out: &mut Vec<u8>) {
    let mut payload = [0; 48];
    let mut len = 0;
    let mut put = |id: u16, value: u32| {
        payload[len..len + 2].copy_from_slice(&id.to_be_bytes());
        payload[len + 2..len + 6].copy_from_slice(&value.to_be_bytes());
        len += 6;
    };
    if config.table_bytes != 4096 {
        put(TABLE_SIZE, config.table_bytes);
    }
    if role == Role::Client {
        put(ENABLE_PUSH, 0);
    } else {
        put(STREAMS_MAX, config.streams_max);
        put(NO_OLD_PRIORITIES, 1);
        if config.extended_connect {
            put(ENABLE_CONNECT, 1);
        }
    }
    if config.stream_window != WINDOW_DEFAULT {
        put(INITIAL_WINDOW, config.stream_window);
    }
    if config.frame_bytes as usize != SIZE_DEFAULT {
        put(FRAME_MAX, config.frame_bytes);
    }
    put(LIST_MAX, config.limits.head_bytes);
    frame::put(frame::SETTINGS, 0, 0, &payload[..len], out);
}
