//! The `Connection`, `Upgrade` and `TE` fields: what concerns this hop only.

use super::fields::Fields;
use super::request::Upgrade;
use crate::limits::CONNECTION_OPTIONS_MAX;
use crate::{Known, RuleId, bytes};

/// What `Connection` asks for.
#[derive(Default)]
pub(crate) struct Options {
    pub close: bool,
    pub keep_alive: bool,
    pub upgrade: bool,
    pub te: bool,
}

/// Reads all `Connection` lines and marks the fields that they name.
//= H1-CONN-01
//= H1-CONN-03
//= H1-CONN-04
pub(crate) fn options(buf: &[u8], fields: &mut Fields) -> Result<Options, RuleId> {
    let mut options = Options::default();
    let mut count = 0;
    for line in 0..fields.list.len() {
        if fields.list[line].known != Known::Connection {
            continue;
        }
        let value = fields.list[line].value.of(buf);
        for option in elements(value) {
            count += 1;
            if count > CONNECTION_OPTIONS_MAX {
                return Err(RuleId::Connection);
            }
            match () {
                () if option.eq_ignore_ascii_case(b"close") => options.close = true,
                () if option.eq_ignore_ascii_case(b"keep-alive") => options.keep_alive = true,
                () if option.eq_ignore_ascii_case(b"upgrade") => options.upgrade = true,
                () if option.eq_ignore_ascii_case(b"te") => options.te = true,
                () if bytes::is_token(option) => mark(buf, fields, option),
                () => return Err(RuleId::Connection),
            }
        }
    }
    Ok(options)
}

fn mark(buf: &[u8], fields: &mut Fields, name: &[u8]) {
    let known = Known::of(name);
    if known.is_protected() {
        return;
    }
    for field in &mut fields.list {
        if field.known == known && field.name.of(buf).eq_ignore_ascii_case(name) {
            field.drop = true;
        }
    }
}

/// Returns the elements of a comma list that are not empty.
pub(crate) fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&b| b == b',').map(bytes::trim).filter(|e| !e.is_empty())
}

/// Returns the protocol that is asked for and that we pass on; any other, `h2c` above all, is not heard.
//= H1-UPG-01
pub(crate) fn upgrade(buf: &[u8], fields: &Fields) -> Option<Upgrade> {
    let mut protocols = fields.known(buf, Known::Upgrade).flat_map(elements);
    protocols.any(|p| p.eq_ignore_ascii_case(b"websocket")).then_some(Upgrade::WebSocket)
}

/// Says whether the client takes trailers.
//= H1-CONN-06
pub(crate) fn takes_trailers(buf: &[u8], fields: &Fields) -> bool {
    fields.known(buf, Known::Te).flat_map(elements).any(|e| e.eq_ignore_ascii_case(b"trailers"))
}
