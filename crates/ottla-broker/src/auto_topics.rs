//! Topics that come into being on first use (`AutoTopicCreationManager`): one creation under way per name.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ottla_config::Values;
use ottla_protocol::ErrorCode;
use ottla_protocol::messages::CreateTopicsRequest;
use ottla_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use ottla_protocol::messages::create_topics_response::CreatableTopicResult;
use ottla_types::TopicName;
use tracing::{info, warn};

use crate::broker::Broker;
use crate::internal_topics as internal;
use crate::quotas::MutationQuota;

/// Names whose creation was asked for and not yet answered.
#[derive(Debug, Default)]
pub(crate) struct AutoTopics {
    under_way: Mutex<BTreeSet<TopicName>>,
}

impl AutoTopics {
    fn lock(&self) -> MutexGuard<'_, BTreeSet<TopicName>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the creation of topics in one request, at the cost of a client's quota if there is one, without those whose
    /// creation is under way. Names that collide only with each other are all made, as Kafka does.
    pub(crate) fn create(broker: &Arc<Broker>, mut names: Vec<TopicName>, quota: Option<MutationQuota>) {
        let mut under_way = broker.auto_topics.lock();
        names.retain(|name| under_way.insert(name.clone()));
        drop(under_way);
        if names.is_empty() {
            return;
        }
        let broker = Arc::clone(broker);
        tokio::spawn(async move {
            let config = broker.config();
            let request = CreateTopicsRequest {
                topics: names.iter().map(|name| creatable(name, config.values())).collect(),
                timeout_ms: 30_000,
                ..CreateTopicsRequest::default()
            };
            let created = broker
                .controller
                .decide(move |controller, _, random| {
                    let mut charge =
                        |partitions| quota.as_ref().map_or(Ok(()), |quota| quota.charge(partitions));
                    controller.create_topics(&request, random, &mut charge)
                })
                .await;
            match created {
                Ok(response) => response.topics.iter().for_each(tell),
                Err(_) => warn!("cannot create topics: no answer from the controller"),
            }
            let mut under_way = broker.auto_topics.lock();
            names.iter().for_each(|name| _ = under_way.remove(name));
        });
    }
}

fn tell(result: &CreatableTopicResult<'_>) {
    let topic = &result.name;
    match ErrorCode::from_code(result.error_code) {
        ErrorCode::None => info!(%topic, "created the topic on first use"),
        ErrorCode::TopicAlreadyExists => {}
        code => warn!(%topic, "cannot create the topic: {} {:?}", code.name(), result.error_message),
    }
}

/// What the controller is asked for: internal topics have settings of their own.
fn creatable(name: &TopicName, values: &Values) -> CreatableTopic<'static> {
    let config = |key: &'static str, value: String| CreatableTopicConfig {
        name: key.into(),
        value: Some(value.into()),
    };
    let (partitions, replication, configs) = match name.as_str() {
        internal::CONSUMER_OFFSETS => (
            values.int("offsets.topic.num.partitions"),
            values.short("offsets.topic.replication.factor"),
            vec![
                config("cleanup.policy", "compact".into()),
                config("compression.type", "producer".into()),
                config("segment.bytes", values.int("offsets.topic.segment.bytes").to_string()),
            ],
        ),
        internal::TRANSACTION_STATE => (
            values.int("transaction.state.log.num.partitions"),
            values.short("transaction.state.log.replication.factor"),
            vec![
                config("cleanup.policy", "compact".into()),
                config("compression.type", "uncompressed".into()),
                config("min.insync.replicas", values.int("transaction.state.log.min.isr").to_string()),
                config("segment.bytes", values.int("transaction.state.log.segment.bytes").to_string()),
                config("unclean.leader.election.enable", "false".into()),
            ],
        ),
        _ => (-1, -1, Vec::new()),
    };
    CreatableTopic {
        name: name.to_string().into(),
        num_partitions: partitions,
        replication_factor: replication,
        configs,
        ..CreatableTopic::default()
    }
}
