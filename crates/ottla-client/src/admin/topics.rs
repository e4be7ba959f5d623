//! Creating, growing and deleting topics.

use ottla_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use ottla_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use ottla_protocol::messages::delete_topics_request::DeleteTopicState;
use ottla_protocol::messages::{CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest};
use ottla_protocol::{ErrorCode, VersionRange};
use ottla_types::Uuid;

use crate::error::check;
use crate::{Client, ClientError, Result};

/// A topic to create.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// Number of partitions; `None` for the broker's `num.partitions`.
    pub partitions: Option<i32>,
    /// Replicas of each partition; `None` for the broker's `default.replication.factor`.
    pub replication_factor: Option<i16>,
    /// Brokers of the replicas of each partition, the preferred leader first, instead of the two numbers above.
    pub assignments: Vec<Vec<i32>>,
    /// Configuration of the topic.
    pub configs: Vec<(String, String)>,
}

impl Client {
    /// Creates a topic and returns its id. With `validate_only` nothing is created, and the id is zero.
    ///
    /// # Errors
    /// The cluster refuses it, or cannot be reached.
    pub async fn create_topic(&self, topic: &NewTopic, validate_only: bool) -> Result<Uuid> {
        let what = || format!("creating topic '{}'", topic.name);
        let response = self
            .with_any(|connection| {
                Box::pin(async move {
                    let request = CreateTopicsRequest {
                        topics: vec![creatable(topic)],
                        timeout_ms: self.timeout_ms(),
                        validate_only,
                    };
                    let response = connection.call_with(VersionRange::new(4, 7), |_| request).await?;
                    let Some(result) = response.topics.into_iter().next() else {
                        return Err(ClientError::broker(what(), ErrorCode::UnknownServerError));
                    };
                    check(result.error_code, result.error_message.as_deref(), what)?;
                    Ok(result)
                })
            })
            .await?;
        self.forget_topic(&topic.name);
        Ok(response.topic_id)
    }

    /// Deletes a topic.
    ///
    /// # Errors
    /// The cluster refuses it, or cannot be reached.
    pub async fn delete_topic(&self, name: &str) -> Result<()> {
        let what = || format!("deleting topic '{name}'");
        self.with_any(|connection| {
            Box::pin(async move {
                let timeout_ms = self.timeout_ms();
                let response = connection
                    .call_with(VersionRange::new(1, 6), |version| {
                        if version >= 6 {
                            let topic = DeleteTopicState { name: Some(name.into()), topic_id: Uuid::ZERO };
                            DeleteTopicsRequest {
                                topics: vec![topic],
                                timeout_ms,
                                ..DeleteTopicsRequest::default()
                            }
                        } else {
                            let topic_names = vec![name.into()];
                            DeleteTopicsRequest { topic_names, timeout_ms, ..DeleteTopicsRequest::default() }
                        }
                    })
                    .await?;
                let result = response.responses.first();
                let result =
                    result.ok_or_else(|| ClientError::broker(what(), ErrorCode::UnknownServerError))?;
                match ErrorCode::from_code(result.error_code) {
                    // Retriable elsewhere, but here it is the answer.
                    ErrorCode::UnknownTopicOrPartition => Err(ClientError::Usage(format!(
                        "topic '{name}' does not exist{}",
                        crate::advice(ErrorCode::UnknownTopicOrPartition)
                    ))),
                    _ => check(result.error_code, result.error_message.as_deref(), what),
                }
            })
        })
        .await?;
        self.forget_topic(name);
        Ok(())
    }

    /// Grows a topic to `total` partitions.
    ///
    /// # Errors
    /// The cluster refuses it (a topic cannot shrink), or cannot be reached.
    pub async fn create_partitions(&self, name: &str, total: i32) -> Result<()> {
        let what = || format!("adding partitions to topic '{name}'");
        self.topic(name).await?;
        self.with_any(|connection| {
            Box::pin(async move {
                let topic = CreatePartitionsTopic { name: name.into(), count: total, assignments: None };
                let request = CreatePartitionsRequest {
                    topics: vec![topic],
                    timeout_ms: self.timeout_ms(),
                    validate_only: false,
                };
                let response = connection.call(&request).await?;
                let result = response.results.first();
                let result =
                    result.ok_or_else(|| ClientError::broker(what(), ErrorCode::UnknownServerError))?;
                check(result.error_code, result.error_message.as_deref(), what)
            })
        })
        .await?;
        self.forget_topic(name);
        Ok(())
    }

    /// How long a broker may work on a call of this client.
    pub(crate) fn timeout_ms(&self) -> i32 {
        i32::try_from(self.config().connection.request_timeout.as_millis()).unwrap_or(i32::MAX)
    }
}

fn creatable(topic: &NewTopic) -> CreatableTopic<'_> {
    let config = |(name, value): &'_ (String, String)| CreatableTopicConfig {
        name: name.clone().into(),
        value: Some(value.clone().into()),
    };
    CreatableTopic {
        name: topic.name.as_str().into(),
        num_partitions: topic.partitions.unwrap_or(-1),
        replication_factor: topic.replication_factor.unwrap_or(-1),
        assignments: topic
            .assignments
            .iter()
            .zip(0..)
            .map(|(broker_ids, partition_index)| CreatableReplicaAssignment {
                partition_index,
                broker_ids: broker_ids.clone(),
            })
            .collect(),
        configs: topic.configs.iter().map(config).collect(),
    }
}
