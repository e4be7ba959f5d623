//! The threads of the cleaner, as many as configured, begun anew when the configuration changes.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;

use tracing::error;

use super::{LogCleaner, Settings, Stop};
use crate::broker::Broker;

/// The threads of the configuration in force, and those of earlier ones that are about to end.
#[derive(Debug)]
pub(super) struct Pool {
    settings: Settings,
    stop: Stop,
    threads: Vec<JoinHandle<()>>,
    is_running: bool,
}

impl Pool {
    pub(super) fn new(settings: Settings) -> Self {
        Self { settings, stop: Stop::default(), threads: Vec::new(), is_running: false }
    }
}

impl LogCleaner {
    /// Starts the threads, unless `log.cleaner.enable` is off.
    pub(crate) fn start(&self, broker: &Arc<Broker>) {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        let settings = Settings::of(broker.config().values());
        self.throttle.set_rate(settings.bytes_per_second);
        pool.settings = settings;
        pool.stop = Stop::default();
        pool.is_running = true;
        if !settings.is_enabled {
            return;
        }
        for index in 0..settings.threads {
            let (broker, stop) = (Arc::clone(broker), Arc::clone(&pool.stop));
            let thread = std::thread::Builder::new().name(format!("cleaner-{index}"));
            match thread.spawn(move || broker.cleaner.run(&broker, &settings, &stop)) {
                Ok(thread) => pool.threads.push(thread),
                Err(failure) => error!("cannot start a cleaner thread: {failure}"),
            }
        }
    }

    /// The broker's configuration changed: the threads end what they do and others take over. Does not wait for them.
    pub(crate) fn reconfigure(&self, broker: &Arc<Broker>) {
        {
            let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
            if !pool.is_running || pool.settings == Settings::of(broker.config().values()) {
                return;
            }
            pool.threads.retain(|thread| !thread.is_finished());
            self.tell_to_end(&pool.stop);
        }
        self.start(broker);
    }

    /// Ends the threads and waits for them.
    pub(crate) fn shut_down(&self) {
        let threads = {
            let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
            pool.is_running = false;
            self.tell_to_end(&pool.stop);
            std::mem::take(&mut pool.threads)
        };
        for thread in threads {
            if thread.join().is_err() {
                error!("a cleaner thread panicked");
            }
        }
    }

    fn tell_to_end(&self, stop: &Stop) {
        stop.store(true, Ordering::Relaxed);
        // Whoever is about to sleep has either seen the flag or sleeps when it is woken.
        drop(self.asleep.lock().unwrap_or_else(PoisonError::into_inner));
        self.wake.notify_all();
    }
}
