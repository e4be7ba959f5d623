//! The shards of one coordinator on this broker, by the partition of its internal topic.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};

use ottla_coordinator::group::RequestToken;
use ottla_protocol::ErrorCode;
use ottla_storage::log::VerificationGuard;
use ottla_types::{Uuid, partition_for_key};
use tokio::sync::oneshot;

use super::{Core, Shard};
use crate::broker::Broker;

/// See the [module](self).
pub(crate) struct Shards<C: Core> {
    topic: &'static str,
    shards: RwLock<BTreeMap<i32, Arc<Shard<C>>>>,
    next_token: AtomicU64,
}

impl<C: Core> Shards<C> {
    /// None yet, of the partitions of this topic.
    pub(crate) fn new(topic: &'static str) -> Self {
        Self { topic, shards: RwLock::default(), next_token: AtomicU64::new(0) }
    }

    /// This broker leads the shard's partition from now on: it is loaded in the background.
    pub(crate) fn lead(&self, shard: Arc<Shard<C>>) {
        let previous = self.write().insert(shard.index(), Arc::clone(&shard));
        if let Some(previous) = previous {
            previous.unload();
        }
        Shard::start(shard);
    }

    /// This broker leads the partition no more.
    pub(crate) fn resign(&self, index: i32) {
        let removed = self.write().remove(&index);
        if let Some(shard) = removed {
            shard.unload();
        }
    }

    /// Ends all shards: whoever waits is told to look elsewhere.
    pub(crate) fn shut_down(&self) {
        for shard in std::mem::take(&mut *self.write()).into_values() {
            shard.unload();
        }
    }

    /// The topic's id and the partition where a key (a group, a transactional id) has its place.
    ///
    /// # Errors
    /// `NOT_COORDINATOR` while the topic is not there.
    pub(crate) fn place_of(&self, broker: &Broker, key: &str) -> Result<(Uuid, i32), ErrorCode> {
        let image = broker.image();
        let topic = image.topics().by_name(self.topic).ok_or(ErrorCode::NotCoordinator)?;
        let count = i32::try_from(topic.partitions.len()).map_err(|_| ErrorCode::NotCoordinator)?;
        Ok((topic.id, partition_for_key(key, count.max(1))))
    }

    /// The shard of a key.
    ///
    /// # Errors
    /// `NOT_COORDINATOR` when it is not here.
    pub(crate) fn of(&self, broker: &Broker, key: &str) -> Result<Arc<Shard<C>>, ErrorCode> {
        let (_, index) = self.place_of(broker, key)?;
        self.at(index).ok_or(ErrorCode::NotCoordinator)
    }

    /// The shard of a partition.
    pub(crate) fn at(&self, index: i32) -> Option<Arc<Shard<C>>> {
        self.shards.read().unwrap_or_else(PoisonError::into_inner).get(&index).cloned()
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<Arc<Shard<C>>> {
        self.shards.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Runs a request on a shard and returns where its answer will come. What is appended carries `guard`.
    pub(crate) fn request(
        &self,
        shard: &Shard<C>,
        guard: VerificationGuard,
        run: impl FnOnce(&mut C, i64, RequestToken) -> C::Decision,
    ) -> oneshot::Receiver<C::Response> {
        let token = RequestToken(self.next_token.fetch_add(1, Ordering::Relaxed));
        let (sender, receiver) = oneshot::channel();
        shard.expect_reply(token, sender);
        shard.call_verified(guard, |core, now_ms| run(core, now_ms, token));
        receiver
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<i32, Arc<Shard<C>>>> {
        self.shards.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: Core> fmt::Debug for Shards<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shards({} of {})", self.all().len(), self.topic)
    }
}
