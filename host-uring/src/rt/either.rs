//! A wait of one of two kinds.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// One of two futures with the same result.
pub enum Either<A, B> {
    /// Of a connection that carries one request after another.
    Own(A),
    /// Of a stream of one that carries many.
    Part(B),
}

impl<A: Future + Unpin, B: Future<Output = A::Output> + Unpin> Future for Either<A, B> {
    type Output = A::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<A::Output> {
        match &mut *self {
            Either::Own(own) => Pin::new(own).poll(context),
            Either::Part(part) => Pin::new(part).poll(context),
        }
    }
}
