//! Incremental fetch sessions (KIP-227): what each consumer asked for last, so that its next request names only changes and
//! its next response carries only partitions with news.
//!
//! Plain state without clock or randomness: `now_ms` and fresh session ids are arguments. Rules from Kafka's `FetchSession`,
//! `FetchSessionCache` and `FetchManager`.

use std::collections::{BTreeMap, HashMap};
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex};

use ottla_types::{TopicName, Uuid};

/// The session epoch of a request that opens a session.
const INITIAL_EPOCH: i32 = 0;
/// The session epoch of a request that wants none, or closes its own.
const FINAL_EPOCH: i32 = -1;
/// "No session" on the wire.
pub(crate) const NO_SESSION: i32 = 0;

/// A partition as a fetch request names it: by id from version 13 on, by name before.
#[derive(Clone, Debug)]
pub(crate) struct FetchKey {
    /// Zero when the request has names.
    pub(crate) topic_id: Uuid,
    /// When the request has ids: the name that the id had when it was first known, or empty.
    pub(crate) topic: TopicName,
    pub(crate) partition: i32,
}

impl FetchKey {
    /// What makes two keys the same: the name counts where there is no id.
    fn identity(&self) -> (i32, Uuid, Option<&str>) {
        (self.partition, self.topic_id, (self.topic_id == Uuid::ZERO).then_some(self.topic.as_str()))
    }

    /// Learns the name of an id; once learned it stays, even when the topic is gone.
    fn resolve(&mut self, name_of: impl Fn(Uuid) -> Option<TopicName>) {
        if self.topic.is_empty()
            && self.topic_id != Uuid::ZERO
            && let Some(name) = name_of(self.topic_id)
        {
            self.topic = name;
        }
    }
}

impl PartialEq for FetchKey {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for FetchKey {}

impl Hash for FetchKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
    }
}

/// What is asked of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FetchSpec {
    pub(crate) fetch_offset: i64,
    pub(crate) current_leader_epoch: i32,
    pub(crate) last_fetched_epoch: i32,
    pub(crate) log_start_offset: i64,
    pub(crate) max_bytes: i32,
}

/// What one partition's answer holds, as far as the session must know to tell news from repetition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AnswerFacts {
    pub(crate) high_watermark: i64,
    pub(crate) log_start_offset: i64,
    pub(crate) has_records: bool,
    pub(crate) is_error: bool,
    /// A diverging epoch or a preferred read replica is set.
    pub(crate) must_send: bool,
}

#[derive(Clone, Debug)]
struct Cached {
    key: FetchKey,
    spec: FetchSpec,
    high_watermark: i64,
    log_start_offset: i64,
}

/// One session: the partitions in the order in which they are served next.
#[derive(Debug, Default)]
pub(crate) struct Session {
    id: i32,
    epoch: i32,
    uses_topic_ids: bool,
    privileged: bool,
    created_ms: i64,
    last_used_ms: i64,
    next_slot: u64,
    order: BTreeMap<u64, Cached>,
    slots: HashMap<FetchKey, u64>,
}

/// Why a request's session cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionError {
    /// No session of that id.
    IdNotFound,
    /// The session is at another epoch: a request was lost or repeated.
    InvalidEpoch,
    /// The session was opened with topic names and the request has ids, or the reverse.
    TopicIdMismatch,
}

/// How a fetch request is to be served.
#[derive(Clone, Debug)]
pub(crate) enum FetchContext {
    /// All partitions are in the request; no session wanted.
    Sessionless(Vec<(FetchKey, FetchSpec)>),
    /// All partitions are in the request; a session is to be opened with the answer.
    Full(Vec<(FetchKey, FetchSpec)>),
    /// The partitions of the session, already brought up to date and with its epoch moved on.
    Incremental { session: Arc<Mutex<Session>>, id: i32, partitions: Vec<(FetchKey, FetchSpec)> },
}

impl FetchContext {
    /// The partitions to serve, in order.
    pub(crate) fn partitions(&self) -> &[(FetchKey, FetchSpec)] {
        match self {
            Self::Sessionless(partitions) | Self::Full(partitions) | Self::Incremental { partitions, .. } => {
                partitions
            }
        }
    }

    /// Gives topics that are named by id the names that they have now; a session keeps them.
    pub(crate) fn resolve(&mut self, name_of: impl Fn(Uuid) -> Option<TopicName>) {
        match self {
            Self::Sessionless(partitions) | Self::Full(partitions) => {
                partitions.iter_mut().for_each(|(key, _)| key.resolve(&name_of));
            }
            Self::Incremental { session, partitions, .. } => {
                let mut session = lock(session);
                let cached = session.order.values_mut();
                for (cached, (key, _)) in cached.zip(partitions) {
                    cached.key.resolve(&name_of);
                    key.topic.clone_from(&cached.key.topic);
                }
            }
        }
    }
}

/// All sessions of a broker.
#[derive(Debug)]
pub(crate) struct FetchSessions {
    max_sessions: usize,
    eviction_ms: i64,
    sessions: Mutex<BTreeMap<i32, Arc<Mutex<Session>>>>,
}

fn next_epoch(epoch: i32) -> i32 {
    if epoch == i32::MAX { 1 } else { epoch + 1 }
}

impl Session {
    fn push(&mut self, key: FetchKey, spec: FetchSpec) {
        let slot = self.next_slot;
        self.next_slot += 1;
        self.slots.insert(key.clone(), slot);
        self.order.insert(slot, Cached { key, spec, high_watermark: -1, log_start_offset: -1 });
    }

    fn upsert(&mut self, key: &FetchKey, spec: FetchSpec) {
        match self.slots.get(key).and_then(|slot| self.order.get_mut(slot)) {
            Some(cached) => cached.spec = spec,
            None => self.push(key.clone(), spec),
        }
    }

    fn forget(&mut self, key: &FetchKey) {
        if let Some(slot) = self.slots.remove(key) {
            self.order.remove(&slot);
        }
    }

    /// Whether this partition's answer must be in an incremental response; remembers what was sent. A partition that sends
    /// records goes to the end of the order, so that all get their turn when responses are full.
    pub(crate) fn is_news(&mut self, key: &FetchKey, facts: AnswerFacts) -> bool {
        let Some(&slot) = self.slots.get(key) else { return true };
        let Some(cached) = self.order.get_mut(&slot) else { return true };
        let mut send = facts.has_records || facts.must_send;
        if cached.high_watermark != facts.high_watermark {
            cached.high_watermark = facts.high_watermark;
            send = true;
        }
        if cached.log_start_offset != facts.log_start_offset {
            cached.log_start_offset = facts.log_start_offset;
            send = true;
        }
        if facts.is_error {
            // An invalid high watermark makes the first good answer after the error news.
            cached.high_watermark = -1;
            send = true;
        }
        if facts.has_records
            && let Some(cached) = self.order.remove(&slot)
        {
            let last = self.next_slot;
            self.next_slot += 1;
            self.slots.insert(key.clone(), last);
            self.order.insert(last, cached);
        }
        send
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl FetchSessions {
    /// At most `max_sessions` sessions (`max.incremental.fetch.session.cache.slots`); one may be replaced when it was not
    /// used for `eviction_ms` (`min.incremental.fetch.session.eviction.ms`).
    pub(crate) fn new(max_sessions: usize, eviction_ms: i64) -> Self {
        Self { max_sessions, eviction_ms, sessions: Mutex::new(BTreeMap::new()) }
    }

    /// Decides how to serve a request with these session fields, and moves its session on.
    pub(crate) fn context(
        &self,
        now_ms: i64,
        (session_id, session_epoch): (i32, i32),
        uses_topic_ids: bool,
        partitions: Vec<(FetchKey, FetchSpec)>,
        forgotten: &[FetchKey],
    ) -> Result<FetchContext, SessionError> {
        let mut sessions = lock(&self.sessions);
        if session_epoch == INITIAL_EPOCH || session_epoch == FINAL_EPOCH {
            if session_id != NO_SESSION {
                sessions.remove(&session_id);
            }
            return Ok(if session_epoch == FINAL_EPOCH {
                FetchContext::Sessionless(partitions)
            } else {
                FetchContext::Full(partitions)
            });
        }
        let session = Arc::clone(sessions.get(&session_id).ok_or(SessionError::IdNotFound)?);
        let mut state = lock(&session);
        if state.epoch != session_epoch {
            return Err(SessionError::InvalidEpoch);
        }
        if state.uses_topic_ids != uses_topic_ids {
            return Err(SessionError::TopicIdMismatch);
        }
        for (key, spec) in &partitions {
            state.upsert(key, *spec);
        }
        for key in forgotten {
            state.forget(key);
        }
        state.last_used_ms = now_ms;
        if state.order.is_empty() {
            sessions.remove(&session_id);
            return Ok(FetchContext::Sessionless(partitions));
        }
        state.epoch = next_epoch(state.epoch);
        let partitions = state.order.values().map(|c| (c.key.clone(), c.spec)).collect();
        drop(state);
        Ok(FetchContext::Incremental { session, id: session_id, partitions })
    }

    /// Opens a session for a served full request; 0 when there is no room. `fresh_ids` yields random positive ids.
    pub(crate) fn open(
        &self,
        now_ms: i64,
        (uses_topic_ids, privileged): (bool, bool),
        partitions: &[(FetchKey, FetchSpec, AnswerFacts)],
        mut fresh_ids: impl FnMut() -> i32,
    ) -> i32 {
        let mut sessions = lock(&self.sessions);
        if sessions.len() >= self.max_sessions
            && !self.evict_one(&mut sessions, now_ms, privileged, partitions.len())
        {
            return NO_SESSION;
        }
        let id = loop {
            let id = fresh_ids() & i32::MAX;
            if id != NO_SESSION && !sessions.contains_key(&id) {
                break id;
            }
        };
        let mut session = Session {
            id,
            epoch: next_epoch(INITIAL_EPOCH),
            uses_topic_ids,
            privileged,
            created_ms: now_ms,
            last_used_ms: now_ms,
            ..Session::default()
        };
        for (key, spec, facts) in partitions {
            session.push(key.clone(), *spec);
            session.is_news(key, AnswerFacts { has_records: false, ..*facts });
        }
        sessions.insert(id, Arc::new(Mutex::new(session)));
        id
    }

    /// Number of open sessions.
    #[cfg(test)]
    fn len(&self) -> usize {
        lock(&self.sessions).len()
    }

    /// Makes room: drops the longest unused session if it is stale, else one that is smaller than the newcomer (or, for a
    /// follower's newcomer, one of a consumer) and old enough.
    fn evict_one(
        &self,
        sessions: &mut BTreeMap<i32, Arc<Mutex<Session>>>,
        now_ms: i64,
        privileged: bool,
        size: usize,
    ) -> bool {
        let victim = sessions
            .values()
            .map(|s| {
                let s = lock(s);
                (s.last_used_ms, s.privileged, s.order.len(), s.created_ms, s.id)
            })
            .min();
        let stale = victim.filter(|v| now_ms - v.0 > self.eviction_ms).map(|v| v.4);
        let weaker = || {
            sessions
                .values()
                .map(|s| {
                    let s = lock(s);
                    (s.privileged, s.order.len(), s.last_used_ms, s.created_ms, s.id)
                })
                .min()
                .filter(|v| now_ms - v.3 > self.eviction_ms)
                .filter(|v| (v.0, v.1) < (privileged, size))
                .map(|v| v.4)
        };
        match stale.or_else(weaker) {
            Some(id) => sessions.remove(&id).is_some(),
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(partition: i32) -> FetchKey {
        FetchKey { topic_id: Uuid::from_parts(1, 1), topic: "t".into(), partition }
    }

    fn spec(offset: i64) -> FetchSpec {
        FetchSpec {
            fetch_offset: offset,
            current_leader_epoch: 0,
            last_fetched_epoch: -1,
            log_start_offset: -1,
            max_bytes: 1024,
        }
    }

    fn facts(high_watermark: i64) -> AnswerFacts {
        AnswerFacts {
            high_watermark,
            log_start_offset: 0,
            has_records: false,
            is_error: false,
            must_send: false,
        }
    }

    fn open(sessions: &FetchSessions, now_ms: i64, id: i32) -> i32 {
        let parts = [(key(0), spec(0), facts(5)), (key(1), spec(0), facts(7))];
        sessions.open(now_ms, (true, false), &parts, || id)
    }

    #[test]
    fn incremental_request_sees_all_partitions_and_the_next_epoch() {
        let sessions = FetchSessions::new(10, 1000);
        assert_eq!(open(&sessions, 0, 42), 42);
        let context = sessions.context(1, (42, 1), true, vec![(key(1), spec(9))], &[]).unwrap();
        let FetchContext::Incremental { session, partitions, .. } = context else { panic!("{context:?}") };
        assert_eq!(partitions, vec![(key(0), spec(0)), (key(1), spec(9))]);
        let mut session = session.lock().unwrap();
        assert!(!session.is_news(&key(0), facts(5)));
        assert!(session.is_news(&key(1), facts(8)));
        assert!(session.is_news(&key(0), AnswerFacts { has_records: true, ..facts(5) }));
        assert_eq!(session.order.values().map(|c| c.key.partition).collect::<Vec<_>>(), vec![1, 0]);
        drop(session);
        assert_eq!(sessions.context(1, (42, 1), true, vec![], &[]).unwrap_err(), SessionError::InvalidEpoch);
        assert!(sessions.context(1, (42, 2), true, vec![], &[key(0)]).is_ok());
        assert_eq!(sessions.context(1, (7, 1), true, vec![], &[]).unwrap_err(), SessionError::IdNotFound);
        assert_eq!(
            sessions.context(1, (42, 3), false, vec![], &[]).unwrap_err(),
            SessionError::TopicIdMismatch
        );
    }

    #[test]
    fn first_good_answer_after_an_error_is_news() {
        let sessions = FetchSessions::new(10, 1000);
        open(&sessions, 0, 42);
        let Ok(FetchContext::Incremental { session, .. }) = sessions.context(1, (42, 1), true, vec![], &[])
        else {
            panic!("an incremental context")
        };
        let mut session = session.lock().unwrap();
        assert!(session.is_news(&key(0), AnswerFacts { is_error: true, ..facts(5) }));
        assert!(session.is_news(&key(0), facts(5)));
        assert!(!session.is_news(&key(0), facts(5)));
    }

    #[test]
    fn emptied_session_is_closed() {
        let sessions = FetchSessions::new(10, 1000);
        open(&sessions, 0, 42);
        let context = sessions.context(1, (42, 1), true, vec![], &[key(0), key(1)]).unwrap();
        assert!(matches!(context, FetchContext::Sessionless(p) if p.is_empty()));
        assert_eq!(sessions.len(), 0);
    }

    #[test]
    fn full_cache_replaces_only_stale_sessions() {
        let sessions = FetchSessions::new(1, 1000);
        assert_eq!(open(&sessions, 0, 1), 1);
        assert_eq!(open(&sessions, 500, 2), NO_SESSION);
        assert_eq!(open(&sessions, 1001, 2), 2);
        assert_eq!(sessions.len(), 1);
    }
}
