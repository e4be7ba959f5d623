//! Deleting the first records of partitions (KIP-107).

use std::collections::BTreeMap;

use ottla_protocol::messages::DeleteRecordsRequest;
use ottla_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use ottla_protocol::{ErrorCode, VersionRange};
use ottla_types::{Offset, TopicPartition};

use crate::error::check;
use crate::{Client, ClientError, Result};

impl Client {
    /// Deletes the records of a partition before an offset, or all that are committed now with offset -1, and returns the new
    /// first offset.
    ///
    /// # Errors
    /// The offset is beyond the end, the topic's `cleanup.policy` does not allow it, or the leader does not answer.
    pub async fn delete_records(&self, partition: &TopicPartition, before: Offset) -> Result<Offset> {
        let what = || format!("deleting records of {partition}");
        let mut retry = self.retry();
        loop {
            let error = match self.delete_records_once(partition, before).await {
                Ok(answered) => return Ok(answered),
                // Retriable elsewhere; here the caller has named an offset that is not there.
                Err(error) if error.code() == Some(ErrorCode::OffsetOutOfRange) => {
                    return Err(ClientError::Usage(format!(
                        "{}: offset {before} is beyond the end of the partition",
                        what()
                    )));
                }
                Err(error) => error,
            };
            self.forget_topic(&partition.topic);
            retry.pause(error).await?;
        }
    }

    async fn delete_records_once(&self, partition: &TopicPartition, before: Offset) -> Result<Offset> {
        let what = || format!("deleting records of {partition}");
        let connection = self.leader(&partition.topic, partition.partition).await?;
        let topic = DeleteRecordsTopic {
            name: partition.topic.as_str().into(),
            partitions: vec![DeleteRecordsPartition {
                partition_index: partition.partition,
                offset: before.0,
            }],
        };
        let request = DeleteRecordsRequest { topics: vec![topic], timeout_ms: self.timeout_ms() };
        let response = connection.call_with(VersionRange::new(0, 2), |_| request).await?;
        let answers = response.topics.iter().flat_map(|topic| &topic.partitions);
        let answers: BTreeMap<_, _> = answers.map(|answer| (answer.partition_index, answer)).collect();
        let answer = answers.get(&partition.partition);
        let answer = answer.ok_or_else(|| ClientError::broker(what(), ErrorCode::UnknownServerError))?;
        check(answer.error_code, None, what)?;
        Ok(Offset(answer.low_watermark))
    }
}
