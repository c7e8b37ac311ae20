//! What a peer may do that costs us more than it: counted with a rate that is forgiven, cut when it goes on.

use super::error::Rule;

/// So many at once, and so many a second that are forgiven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many may come at once.
    pub burst: u32,
    /// How many a second are forgiven.
    pub per_second: u32,
}

/// The budgets of one connection. Each default lets every client through that we know and cuts a flood within
/// 1,100 frames, or 12 ms of 100,000 frames a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budgets {
    /// Streams that the peer resets before they are done. A browser resets a page's requests at once when its
    /// user goes on: two pages of 100.
    pub peer_resets: Rate,
    /// Streams that we had to reset for what the peer sent on them, and requests beyond the announced number.
    /// Mistakes of that kind do not come in numbers.
    pub own_resets: Rate,
    /// PING, SETTINGS, GOAWAY, priorities, unknown frames, and frames for streams that are gone, beyond one for each DATA
    /// frame that we send: gRPC measures bandwidth with a PING whenever data comes and none is on its way, which is some
    /// thousand a second where the way is short.
    pub controls: Rate,
    /// DATA without data that ends nothing.
    pub empty_data: Rate,
    /// DATA of less than [`SMALL`] bytes that ends nothing. Streams of small messages are a way to use gRPC: as
    /// many a second as a connection has small requests.
    pub small_data: Rate,
    /// Window updates beyond two for each DATA frame that we send.
    pub window_updates: Rate,
}

/// A DATA frame below this many bytes costs more to handle than it brings.
pub const SMALL: usize = 64;

impl Default for Budgets {
    fn default() -> Budgets {
        let rate = |burst, per_second| Rate { burst, per_second };
        Budgets {
            peer_resets: rate(200, 20),
            own_resets: rate(100, 10),
            controls: rate(500, 100),
            empty_data: rate(100, 10),
            small_data: rate(1000, 10_000),
            window_updates: rate(1000, 1000),
        }
    }
}

/// One of the budgets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    PeerReset,
    OwnReset,
    Control,
    EmptyData,
    SmallData,
    WindowUpdate,
}

const ITEMS: usize = 6;

/// What was charged and is not forgiven yet, in thousandths.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Accounts {
    levels: [u32; ITEMS],
    /// When they were last looked at, in milliseconds.
    since: [u64; ITEMS],
}

impl Accounts {
    /// Charges one; the rule that is broken if that is too much.
    //= H2-ABUSE-03
    //= H2-ABUSE-04
    //= H2-ABUSE-05
    //= H2-ABUSE-06
    //= H2-ABUSE-07
    //= H2-ABUSE-08
    pub(crate) fn charge(&mut self, item: Item, budgets: &Budgets, now: u64) -> Result<(), Rule> {
        let (rate, rule) = match item {
            Item::PeerReset => (budgets.peer_resets, Rule::PeerResets),
            Item::OwnReset => (budgets.own_resets, Rule::OwnResets),
            Item::Control => (budgets.controls, Rule::Controls),
            Item::EmptyData => (budgets.empty_data, Rule::EmptyData),
            Item::SmallData => (budgets.small_data, Rule::SmallData),
            Item::WindowUpdate => (budgets.window_updates, Rule::WindowUpdates),
        };
        let (level, since) = (&mut self.levels[item as usize], &mut self.since[item as usize]);
        // Milliseconds times a rate by the second are thousandths.
        let forgiven = now.saturating_sub(*since).saturating_mul(u64::from(rate.per_second));
        *since = now.max(*since);
        let owed = u64::from(*level).saturating_sub(forgiven) + 1000;
        *level = u32::try_from(owed).unwrap_or(u32::MAX);
        if owed > u64::from(rate.burst) * 1000 { Err(rule) } else { Ok(()) }
    }

    /// Takes back what was charged, up to `count`.
    pub(crate) fn forgive(&mut self, item: Item, count: u32) {
        let level = &mut self.levels[item as usize];
        *level = level.saturating_sub(count * 1000);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_a_rate_passes_for_ever_and_more_does_not() {
        let budgets = Budgets { controls: Rate { burst: 10, per_second: 100 }, ..Budgets::default() };
        let mut accounts = Accounts::default();
        let burst = (0..20).take_while(|_| accounts.charge(Item::Control, &budgets, 5).is_ok()).count();
        assert_eq!(burst, 10);
        let mut accounts = Accounts::default();
        for nth in 0..10_000 {
            assert_eq!(accounts.charge(Item::Control, &budgets, nth * 10), Ok(()), "100 a second");
        }
        let twice =
            (0..1000).take_while(|n| accounts.charge(Item::Control, &budgets, 100_000 + n * 5).is_ok());
        assert!((18..=20).contains(&twice.count()), "200 a second: the burst is used up at half that speed");
        assert_eq!(accounts.charge(Item::EmptyData, &budgets, 0), Ok(()), "each has an account of its own");
    }

    #[test]
    fn time_that_goes_back_forgives_nothing() {
        let budgets = Budgets { controls: Rate { burst: 2, per_second: 1000 }, ..Budgets::default() };
        let mut accounts = Accounts::default();
        assert_eq!(accounts.charge(Item::Control, &budgets, 1000), Ok(()));
        assert_eq!(accounts.charge(Item::Control, &budgets, 0), Ok(()));
        assert_eq!(accounts.charge(Item::Control, &budgets, 999), Err(Rule::Controls));
        assert_eq!(accounts.charge(Item::Control, &budgets, 1000), Err(Rule::Controls));
        assert_eq!(accounts.charge(Item::Control, &budgets, 1010), Ok(()));
    }
}
