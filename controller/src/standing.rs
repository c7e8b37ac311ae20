//! When a connection is over on which nobody asks for anything. The library has a time limit for the head of a request by
//! HTTP/1.1 alone: one that ends its handshake and is silent, or sends half a preface of HTTP/2, or answers pings for ever,
//! would stand in its place for good.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::service::Service;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// What has no end is looked at so often.
const LOOK_EVERY: Duration = Duration::from_secs(3_600);

/// How long a connection may stand.
#[derive(Clone, Copy)]
pub struct Limits {
    /// Until its first request has come.
    pub first: Duration,
    /// While no request of it is worked at, and nothing of an answer is taken.
    pub idle: Duration,
    /// While no request of it is worked at, whatever else it does.
    pub unasked: Duration,
}

/// What happens on one connection.
pub struct Standing {
    began: Instant,
    asked: AtomicUsize,
    under_way: AtomicUsize,
    /// When a request came or was answered last, milliseconds since it began; and when something was written.
    changed: AtomicU64,
    wrote: AtomicU64,
}

/// A request that is worked at, until it is dropped.
struct Turn(Arc<Standing>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.changed.store(self.0.now(), Ordering::Relaxed);
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Standing {
    /// Of a connection that begins now.
    pub fn begins() -> Arc<Self> {
        Arc::new(Standing {
            began: Instant::now(),
            asked: AtomicUsize::new(0),
            under_way: AtomicUsize::new(0),
            changed: AtomicU64::new(0),
            wrote: AtomicU64::new(0),
        })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn turn(self: &Arc<Self>) -> Turn {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.under_way.fetch_add(1, Ordering::Relaxed);
        self.changed.store(self.now(), Ordering::Relaxed);
        Turn(Arc::clone(self))
    }

    /// Ends when the connection has stood for too long.
    //= API-SLOW-01
    pub async fn is_over(&self, limits: Limits) {
        loop {
            let since = |ms: u64| self.began.elapsed().saturating_sub(Duration::from_millis(ms));
            let (changed, wrote) = (self.changed.load(Ordering::Relaxed), self.wrote.load(Ordering::Relaxed));
            let left = match (self.under_way.load(Ordering::Relaxed), self.asked.load(Ordering::Relaxed)) {
                // Whoever works at it has limits of its own.
                (1.., _) => limits.first,
                (0, 0) => limits.first.saturating_sub(since(0)),
                (0, 1..) => {
                    let taken = limits.idle.saturating_sub(since(changed.max(wrote)));
                    taken.min(limits.unasked.saturating_sub(since(changed)))
                }
            };
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(LOOK_EVERY)).await;
        }
    }
}

/// A service whose requests are noted.
pub struct Noted<T> {
    /// What answers.
    pub inner: T,
    /// Where they are noted.
    pub standing: Arc<Standing>,
}

impl<R, T: Service<R>> Service<R> for Noted<T>
where
    T::Future: Send + 'static,
{
    type Response = T::Response;
    type Error = T::Error;
    type Future = Pin<Box<dyn Future<Output = Result<T::Response, T::Error>> + Send>>;

    fn call(&self, request: R) -> Self::Future {
        let turn = self.standing.turn();
        let answer = self.inner.call(request);
        Box::pin(async move {
            let _turn = turn;
            answer.await
        })
    }
}

/// A stream of which it is noted when something was written.
pub struct Noting<S> {
    /// The stream.
    pub inner: S,
    /// Where it is noted.
    pub standing: Arc<Standing>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Noting<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, into)
    }
}

impl<S: AsyncWrite + Unpin> Noting<S> {
    fn note(&self, done: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if matches!(done, Poll::Ready(Ok(1..))) {
            self.standing.wrote.store(self.standing.now(), Ordering::Relaxed);
        }
        done
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Noting<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.inner).poll_write(cx, from);
        self.note(done)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.inner).poll_write_vectored(cx, from);
        self.note(done)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        first: Duration::from_millis(100),
        idle: Duration::from_secs(2),
        unasked: Duration::from_millis(2_500),
    };

    async fn lasts(standing: &Standing) -> Duration {
        let before = Instant::now();
        standing.is_over(LIMITS).await;
        before.elapsed()
    }

    //= test API-SLOW-01
    #[tokio::test]
    async fn who_asks_for_nothing_stands_for_a_while_and_who_has_asked_for_longer() {
        let standing = Standing::begins();
        let first = lasts(&standing).await;
        drop(standing.turn());
        let idle = lasts(&standing).await;
        assert!(first >= LIMITS.first.mul_f32(0.9) && idle >= LIMITS.idle.mul_f32(0.9), "{first:?} {idle:?}");
    }

    //= test API-SLOW-01
    #[tokio::test]
    async fn what_is_worked_at_or_taken_keeps_a_connection_and_pings_do_not_for_ever() {
        let standing = Standing::begins();
        let turn = standing.turn();
        assert!(tokio::time::timeout(2 * LIMITS.unasked, standing.is_over(LIMITS)).await.is_err());
        drop(turn);
        let began = Instant::now();
        let pings = async {
            loop {
                standing.wrote.store(standing.now(), Ordering::Relaxed);
                // Sleep: between two pings.
                tokio::time::sleep(LIMITS.idle / 40).await;
            }
        };
        tokio::select! {
            never = pings => never,
            () = standing.is_over(LIMITS) => {}
        }
        assert!(began.elapsed() >= LIMITS.unasked.mul_f32(0.9), "{:?}", began.elapsed());
    }
}
