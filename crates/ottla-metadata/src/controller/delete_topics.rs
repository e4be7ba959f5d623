//! DeleteTopics.

use std::collections::{BTreeMap, BTreeSet};

use ottla_protocol::ErrorCode;
use ottla_protocol::messages::delete_topics_request::DeleteTopicsRequest;
use ottla_protocol::messages::delete_topics_response::{DeletableTopicResult, DeleteTopicsResponse};
use ottla_protocol::messages::remove_topic_record::RemoveTopicRecord;
use ottla_types::Uuid;

use super::{ChargePartitions, Context, Controller, Decision};
use crate::ApiError;
use crate::record::VersionedRecord;

/// What a client may do with a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TopicAccess {
    /// Not even know that it exists.
    None,
    /// Know about it.
    Describe,
    /// Delete it.
    Delete,
}

type Results = Vec<DeletableTopicResult<'static>>;

impl Controller {
    /// Answers DeleteTopics (v1-6), by name and by id. `access` says what the client may do with a topic of that name.
    pub fn delete_topics(
        &self,
        context: &Context,
        request: &DeleteTopicsRequest<'_>,
        access: &dyn Fn(&str) -> TopicAccess,
        charge: ChargePartitions<'_>,
    ) -> Decision<DeleteTopicsResponse<'static>> {
        if !self.settings.delete_topic_enable {
            let old = context.api_version < 3;
            let code = if old { ErrorCode::InvalidRequest } else { ErrorCode::TopicDeletionDisabled };
            return Decision::reply(refuse_all(request, code));
        }
        let mut results = Results::new();
        let (names, ids) = distinct(request, &mut results);
        let mut chosen = self.resolve_ids(&ids, access, &mut results);
        self.resolve_names(&names, access, &mut chosen, &mut results);
        let mut records = Vec::new();
        for (id, name) in chosen {
            let partitions = self.image.topics().by_id(id).map_or(0, |topic| topic.partitions.len());
            let charged = charge(partitions);
            if charged.is_ok() {
                records.push(VersionedRecord::new(RemoveTopicRecord { topic_id: id }, 0));
            }
            results.push(result(Some(&name), id, charged.err()));
        }
        let response = DeleteTopicsResponse { responses: results, ..DeleteTopicsResponse::default() };
        Decision::atomic(records, response)
    }

    fn resolve_ids(
        &self,
        ids: &BTreeSet<Uuid>,
        access: &dyn Fn(&str) -> TopicAccess,
        results: &mut Results,
    ) -> BTreeMap<Uuid, String> {
        let mut chosen = BTreeMap::new();
        let denied = ApiError::with_default_text(ErrorCode::TopicAuthorizationFailed);
        for id in ids {
            let Some(topic) = self.image.topics().by_id(*id) else {
                results.push(result(None, *id, Some(ApiError::with_default_text(ErrorCode::UnknownTopicId))));
                continue;
            };
            let name = topic.name.as_str();
            match access(name) {
                TopicAccess::Delete => {
                    chosen.insert(*id, name.to_owned());
                }
                TopicAccess::Describe => results.push(result(Some(name), *id, Some(denied.clone()))),
                TopicAccess::None => results.push(result(None, *id, Some(denied.clone()))),
            }
        }
        chosen
    }

    fn resolve_names(
        &self,
        names: &BTreeSet<String>,
        access: &dyn Fn(&str) -> TopicAccess,
        chosen: &mut BTreeMap<Uuid, String>,
        results: &mut Results,
    ) {
        let denied = ApiError::with_default_text(ErrorCode::TopicAuthorizationFailed);
        for name in names {
            let access = access(name);
            let error = match (access, self.image.topics().id(name)) {
                (TopicAccess::None, _) => Some(denied.clone()),
                (_, None) => Some(ApiError::with_default_text(ErrorCode::UnknownTopicOrPartition)),
                (TopicAccess::Describe, _) => Some(denied.clone()),
                (TopicAccess::Delete, Some(id)) => {
                    if chosen.remove(&id).is_some() {
                        let text = "The provided topic name maps to an ID that was already supplied.";
                        let error = ApiError::new(ErrorCode::InvalidRequest, text);
                        results.push(result(Some(name), id, Some(error)));
                    } else {
                        chosen.insert(id, name.clone());
                    }
                    None
                }
            };
            if error.is_some() {
                results.push(result(Some(name), Uuid::ZERO, error));
            }
        }
    }
}

/// The names and ids that are asked for exactly once; errors for all else.
fn distinct(request: &DeleteTopicsRequest<'_>, results: &mut Results) -> (BTreeSet<String>, BTreeSet<Uuid>) {
    let invalid = |text: &str| Some(ApiError::new(ErrorCode::InvalidRequest, text));
    let (mut names, mut ids) = (BTreeMap::new(), BTreeMap::new());
    for name in &request.topic_names {
        *names.entry(name.to_string()).or_insert(0) += 1;
    }
    for topic in &request.topics {
        match (&topic.name, topic.topic_id.is_zero()) {
            (None, true) => {
                results.push(result(None, Uuid::ZERO, invalid("Neither topic name nor id were specified.")));
            }
            (None, false) => *ids.entry(topic.topic_id).or_insert(0) += 1,
            (Some(name), true) => *names.entry(name.to_string()).or_insert(0) += 1,
            (Some(name), false) => {
                let text = "You may not specify both topic name and topic id.";
                results.push(result(Some(name), topic.topic_id, invalid(text)));
            }
        }
    }
    for (name, _) in names.iter().filter(|(_, count)| **count > 1) {
        results.push(result(Some(name), Uuid::ZERO, invalid("Duplicate topic name.")));
    }
    for (id, _) in ids.iter().filter(|(_, count)| **count > 1) {
        results.push(result(None, *id, invalid("Duplicate topic id.")));
    }
    (
        names.into_iter().filter(|(_, count)| *count == 1).map(|(name, _)| name).collect(),
        ids.into_iter().filter(|(_, count)| *count == 1).map(|(id, _)| id).collect(),
    )
}

fn refuse_all(request: &DeleteTopicsRequest<'_>, code: ErrorCode) -> DeleteTopicsResponse<'static> {
    let named = request.topic_names.iter().map(|name| (Some(name.as_ref()), Uuid::ZERO));
    let listed = request.topics.iter().map(|topic| (topic.name.as_deref(), topic.topic_id));
    let refused = |(name, id)| result(name, id, Some(ApiError::bare(code)));
    DeleteTopicsResponse { responses: named.chain(listed).map(refused).collect(), ..Default::default() }
}

fn result(name: Option<&str>, topic_id: Uuid, error: Option<ApiError>) -> DeletableTopicResult<'static> {
    DeletableTopicResult {
        name: name.map(|name| name.to_owned().into()),
        topic_id,
        error_code: error.as_ref().map_or(ErrorCode::None, |error| error.code).code(),
        error_message: error.and_then(|error| error.message).map(Into::into),
    }
}
