//! How the loop waits.

use std::time::Duration;

/// What the runtime's timer counts in. It begins at a moment of its own and rounds up, so that what is asked for in the middle of
/// one of its milliseconds comes at the end of one more.
const TICK: Duration = Duration::from_millis(1);

/// Up to there a millisecond more is much: changes that gather, batches and acknowledgements.
const SHORT: Duration = Duration::from_millis(3);

/// Waits. What is due at once, a comparison's next step above all, does not wait for the timer, whose next millisecond is up to
/// one away: it takes its turn behind what has come meanwhile.
pub(crate) async fn rest(wait: Duration, may_hurry: bool) {
    if wait.is_zero() && may_hurry {
        tokio::task::yield_now().await;
    } else {
        tokio::time::sleep(asked(wait)).await;
    }
}

/// What the timer is to be asked for. It may come a moment too early then: the loop finds nothing due and rests again.
fn asked(wait: Duration) -> Duration {
    if wait > SHORT { wait } else { wait.saturating_sub(TICK).max(Duration::from_nanos(1)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    /// Whoever is kept from running takes longer: the shortest of many counts.
    //= test SYNC-FEED-01
    #[test]
    fn a_rest_of_a_millisecond_takes_one_and_not_two() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let shortest = (0..100)
            .map(|n| {
                // Sleep: it begins wherever between two milliseconds of the timer.
                std::thread::sleep(Duration::from_micros(n * 37 % 1_000));
                let begun = Instant::now();
                runtime.block_on(rest(Duration::from_millis(1), true));
                begun.elapsed()
            })
            .min();
        assert!(shortest.is_some_and(|took| took < Duration::from_micros(1_700)), "{shortest:?}");
    }

    #[test]
    fn what_is_long_is_asked_for_as_it_is() {
        let ms = Duration::from_millis;
        assert_eq!([0, 1, 2, 3, 4, 100].map(|n| asked(ms(n)).as_millis()), [0, 0, 1, 2, 4, 100]);
    }
}
