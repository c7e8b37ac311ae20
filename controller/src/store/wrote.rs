//! Whether what a task was asked for has written anything.

use std::cell::Cell;

use super::Refusal;

tokio::task_local! {
    static WROTE: Cell<bool>;
}

/// What became of a step of this task: one that was taken, or may have been, is noted.
pub fn note<T>(done: Result<T, Refusal>) -> Result<T, Refusal> {
    if matches!(done, Ok(_) | Err(Refusal::Unknown(_))) {
        // Nobody asks of what a task does by itself.
        let _ = WROTE.try_with(|wrote| wrote.set(true));
    }
    done
}

/// Does something, and says whether it wrote.
pub async fn noted<T>(work: impl Future<Output = T>) -> (T, bool) {
    let both = async {
        let done = work.await;
        (done, WROTE.with(Cell::get))
    };
    WROTE.scope(Cell::new(false), both).await
}
