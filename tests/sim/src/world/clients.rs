//! What clients do.

use forebay_core::table::{KeyBytes, Outcome, Write as Put, WriteKind, Written};
use forebay_objsync::Input;

use super::{Violation, What, World};
use crate::check;
use crate::ledger::{Place, Write};
use crate::node::SERVERS;
use crate::plan::SECOND;
use crate::values;

impl World {
    pub(super) fn write_value(&mut self) {
        let on = self.more.below(u64::from(self.plan.engines)) as u8;
        let (what, key, n) = (self.more.below(10), self.more.below(6), self.more.below(1_000));
        if self.is_awake(on) {
            values::write(self, on, what, key, n);
        }
    }

    pub(super) fn client(&mut self) -> Result<(), Violation> {
        let on = self.rng.below(u64::from(self.plan.engines)) as u8;
        let key = KeyBytes::of_ip([10, 0, 0, self.rng.below(self.plan.keys) as u8].into());
        let (what, server) = (self.rng.below(100), self.rng.below(SERVERS));
        let longest = if self.rng.percent(10) { 150 } else { 40 };
        let stays = self.rng.between(SECOND / 20, longest * SECOND);
        if !self.is_awake(on) || !self.nodes[&on].engine.joined() {
            return Ok(());
        }
        match what {
            0..66 => self.client_comes(on, (0, key), server, stays),
            66..74 => self.removed(on, (0, key)),
            74..82 => self.written(on, (0, key), server, WriteKind::Move),
            82..96 => self.written(on, (1, key), server, WriteKind::Last),
            _ => self.removed(on, (1, key)),
        }
    }

    fn client_comes(&mut self, on: u8, place: Place, server: u64, stays: u64) -> Result<(), Violation> {
        check::before_use(self, on, place)?;
        self.written(on, place, server, WriteKind::First)?;
        let Some(node) = self.nodes.get_mut(&on) else { return Ok(()) };
        let now = node.now(self.at);
        let (partition, catalog, key) = node.tables.at(place.0, place.1);
        let Some(opened) = partition.open(catalog, &key, now) else { return Ok(()) };
        let (boot, id) = (node.boot, node.tables.id(place.0));
        self.used(on, place);
        let Some(node) = self.nodes.get_mut(&on) else { return Ok(()) };
        node.open.entry(place).or_default().push(self.at);
        if opened.first {
            self.handle(on, Input::Changed(id, place.1, None));
        }
        self.later(self.at + stays, What::Close { node: on, boot, place });
        Ok(())
    }

    pub(super) fn client_leaves(&mut self, on: u8, boot: u64, place: Place) {
        // At the end everything is to be at rest.
        if self.at > self.plan.end {
            return;
        }
        self.note_open(place);
        let Some(node) = self.nodes.get_mut(&on).filter(|n| n.boot == boot) else { return };
        let now = node.now(self.at);
        let (partition, catalog, key) = node.tables.at(place.0, place.1);
        let closed = partition.close(catalog, &key, now);
        let since = node.open.entry(place).or_default();
        since.pop();
        if since.is_empty() {
            node.closed.insert(place, self.at);
        }
        let id = node.tables.id(place.0);
        if closed.is_some_and(|c| c.last_here) {
            self.handle(on, Input::Changed(id, place.1, None));
        }
    }

    /// An engine binds, moves or writes; a move only what is there.
    fn written(&mut self, on: u8, place: Place, server: u64, kind: WriteKind) -> Result<(), Violation> {
        let Some(node) = self.nodes.get_mut(&on) else { return Ok(()) };
        let now = node.now(self.at);
        let group = node.engine.group_time(now);
        let slot = node.tables.catalog.server(server);
        let (partition, catalog, key) = node.tables.at(place.0, place.1);
        let held = partition.get(catalog, &key, now);
        if kind == WriteKind::Move && held.is_none() || kind == WriteKind::First && held.is_some() {
            return Ok(());
        }
        let put = Put { server: slot, class: Default::default(), kind };
        match partition.put(catalog, &key, put, now, group) {
            Err(_) => {
                return Err(Violation {
                    at: self.at,
                    what: format!("engine {on} has no room for {place:?}"),
                });
            }
            // That is no use of it.
            Ok(Written { outcome: Outcome::Same, .. }) => return Ok(()),
            Ok(_) => {}
        }
        self.used(on, place);
        self.tell_of_write(on, place);
        Ok(())
    }

    fn removed(&mut self, on: u8, place: Place) -> Result<(), Violation> {
        let Some(node) = self.nodes.get_mut(&on) else { return Ok(()) };
        let now = node.now(self.at);
        let group = node.engine.group_time(now);
        let (partition, catalog, key) = node.tables.at(place.0, place.1);
        let removed = partition.remove(catalog, &key, now, group);
        if matches!(removed, Ok(Some(_))) {
            self.tell_of_write(on, place);
        }
        Ok(())
    }

    fn tell_of_write(&mut self, on: u8, place: Place) {
        let at = self.at;
        let Some(node) = self.nodes.get_mut(&on) else { return };
        let now = node.now(at);
        let Some(view) = node.tables.entry(place.0, place.1, now) else { return };
        let server = node.tables.catalog.name_of(view.record.server).unwrap_or(0);
        let (by, id) = (node.boot, node.tables.id(place.0));
        self.say(|| {
            format!("{on} writes {:?}: table {} {}", place.1.to_ip(), place.0, check::short(&view.record))
        });
        let write = Write { place, record: view.record, server, by, held_by: None, at };
        let ticket = self.ledger.wrote(write);
        self.handle(on, Input::Changed(id, place.1, Some(ticket)));
    }
}
