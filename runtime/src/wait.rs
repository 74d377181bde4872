//! Waiting for a future of ours.

/// Waits for `future`; without a GPU none of ours ever waits, so polling once is enough.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    #[cfg(feature = "wgpu")]
    return pollster::block_on(future);
    #[cfg(not(feature = "wgpu"))]
    {
        let mut future = std::pin::pin!(future);
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        loop {
            if let std::task::Poll::Ready(value) = future.as_mut().poll(&mut context) {
                return value;
            }
        }
    }
}
