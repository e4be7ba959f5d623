//! Tells those who wait on the runtime that their flush is over.
//!
//! Waking a task of the runtime from a thread outside wakes one of the runtime's threads, which wakes another when it finds the task, in case
//! there is more to do: two switches of threads, one of them for nothing. A pipe that a task listens to makes it one, as for bytes from a socket,
//! and the tasks that were waited for run on the thread that was woken.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::pipe::{PipeFlags, pipe_with};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;
use tokio::runtime::Handle;
use tracing::warn;

use crate::waiter::Waiter;

/// Bytes read at a time: there are hardly ever more than two.
const READ_BYTES: usize = 16;

/// Who is to be woken, oldest first.
type Due = Arc<Mutex<Vec<Waiter>>>;

/// The end that flusher threads have.
#[derive(Debug)]
pub(super) struct Herald {
    due: Due,
    /// `None` where there is no runtime: everyone is woken from the calling thread.
    bell: Option<OwnedFd>,
}

/// The end in the runtime.
struct Listener {
    due: Due,
    /// `None` when it listens no more.
    bell: Option<Receiver>,
}

impl Herald {
    /// For those who wait on the runtime that this is called in.
    pub(super) fn new() -> Self {
        let due = Due::default();
        let listening = Handle::try_current().ok().and_then(|runtime| {
            let listening = Listener::on(&runtime, Arc::clone(&due));
            listening.inspect_err(|error| warn!("cannot make a pipe for acknowledgements: {error}")).ok()
        });
        Self { due, bell: listening }
    }

    /// Wakes all of them, here or in the runtime.
    pub(super) fn announce(&self, mut waiters: Vec<Waiter>) {
        if waiters.is_empty() {
            return;
        }
        let Some(bell) = &self.bell else { return notify_all(waiters) };
        let mut due = lock(&self.due);
        // Whoever found nothing due rings; what comes before the listener looks is found with it.
        let is_first = due.is_empty();
        due.append(&mut waiters);
        drop(due);
        if is_first && rustix::io::write(bell, &[0]).is_err() {
            // Nobody listens any more.
            notify_all(take(&self.due));
        }
    }
}

impl Listener {
    fn on(runtime: &Handle, due: Due) -> io::Result<OwnedFd> {
        let (read, write) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC)?;
        let _context = runtime.enter();
        let listener = Self { due, bell: Some(Receiver::from_owned_fd(read)?) };
        runtime.spawn(listener.run());
        Ok(write)
    }

    /// Ends with the herald, or with the runtime.
    async fn run(mut self) {
        while let Some(bell) = &mut self.bell {
            // What is rung after this makes it ready again.
            match bell.read(&mut [0; READ_BYTES]).await {
                Ok(0) => return,
                Ok(_) => notify_all(take(&self.due)),
                Err(error) => {
                    warn!("cannot read the pipe for acknowledgements: {error}");
                    return;
                }
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Who rings from here on notices that nobody listens; who did before is heard.
        self.bell = None;
        notify_all(take(&self.due));
    }
}

fn lock(due: &Due) -> MutexGuard<'_, Vec<Waiter>> {
    due.lock().unwrap_or_else(PoisonError::into_inner)
}

fn take(due: &Due) -> Vec<Waiter> {
    std::mem::take(&mut *lock(due))
}

fn notify_all(waiters: Vec<Waiter>) {
    waiters.into_iter().for_each(Waiter::notify);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::runtime::{Builder, Runtime};
    use tokio::sync::Notify;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    fn runtime(threads: usize) -> Runtime {
        Builder::new_multi_thread().worker_threads(threads).enable_all().build().expect("a runtime")
    }

    fn herald_on(runtime: &Runtime) -> Arc<Herald> {
        let _context = runtime.enter();
        Arc::new(Herald::new())
    }

    /// Each of them waits to be told before it has the next told, so that one that is lost stops everything.
    #[test]
    fn nobody_is_forgotten_who_is_announced_by_several_threads() {
        const ROUNDS: usize = 20_000;
        for threads in [1, 2] {
            let runtime = runtime(threads);
            let herald = herald_on(&runtime);
            assert!(herald.bell.is_some());
            let waiting = (0..3).map(|_| {
                let (herald, notify) = (Arc::clone(&herald), Arc::new(Notify::new()));
                let (ask, asked) = std::sync::mpsc::channel::<()>();
                let told = Arc::clone(&notify);
                let thread = std::thread::spawn(move || {
                    while asked.recv().is_ok() {
                        herald.announce(vec![Waiter::Again(Arc::clone(&told))]);
                    }
                });
                let task = runtime.spawn(async move {
                    for _ in 0..ROUNDS {
                        ask.send(()).expect("the thread is there");
                        tokio::time::timeout(LIMIT, notify.notified()).await.expect("it is told");
                    }
                });
                (thread, task)
            });
            for (thread, task) in waiting.collect::<Vec<_>>() {
                runtime.block_on(task).expect("nobody was forgotten");
                thread.join().expect("it has ended");
            }
        }
    }

    #[test]
    fn those_due_when_the_runtime_ends_and_later_are_told_all_the_same() {
        let runtime = runtime(1);
        let herald = herald_on(&runtime);
        let (before, after) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let blocking = Arc::new(std::sync::Barrier::new(2));
        runtime.spawn({
            let blocking = Arc::clone(&blocking);
            // The listener cannot run.
            async move { blocking.wait() }
        });
        herald.announce(vec![Waiter::Again(Arc::clone(&before))]);
        blocking.wait();
        drop(runtime);
        herald.announce(vec![Waiter::Again(Arc::clone(&after))]);
        let told = async { tokio::join!(before.notified(), after.notified()) };
        let other = Builder::new_current_thread().enable_time().build().expect("a runtime");
        other.block_on(async { tokio::time::timeout(LIMIT, told).await }).expect("both are told");
    }

    #[test]
    fn without_a_runtime_everyone_is_told_at_once() {
        let herald = Herald::new();
        let told = Arc::new(Notify::new());
        herald.announce(vec![Waiter::Again(Arc::clone(&told))]);
        let mut notified = std::pin::pin!(told.notified());
        assert!(notified.as_mut().enable(), "it was told before it waits");
    }
}
