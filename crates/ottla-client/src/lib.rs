//! A small asynchronous Kafka client: what the command line, the tests and the broker's own calls need.
//!
//! [`Connection`] is one pipelined connection to one node. [`Client`] knows the cluster: it finds leaders and coordinators,
//! retries what can be retried, and has the administrative calls. [`Producer`] and [`Consumer`] are built on it.
//!
//! ```no_run
//! # async fn example() -> Result<(), ottla_client::ClientError> {
//! use ottla_client::{Client, ClientConfig, Producer, ProducerConfig, Record};
//!
//! let client = Client::connect(ClientConfig::new("localhost:9092")).await?;
//! let producer = Producer::new(client, ProducerConfig::default()).await?;
//! let delivery = producer.send("orders", Record::new(Some("key"), Some("value"))).await?;
//! println!("at offset {}", delivery.await?.offset);
//! # Ok(())
//! # }
//! ```

mod admin;
mod client;
mod config;
mod connection;
mod consumer;
mod error;
mod metadata;
mod partitioner;
mod producer;

pub use admin::{
    AlterConfig, ClusterDescription, ConfigEntry, ConfigResource, ConfigSource, ElectionType, EntityQuotas,
    FeatureChange, GroupDescription, GroupListing, GroupMember, GroupOffset, ListedOffset, LogDirDescription,
    LogDirReplica, MemberRef, NewTopic, NodeVersions, OffsetSpec, ProducerState, QuorumDescription,
    QuorumReplica, QuotaEntity, QuotaMatch, Reassignment, ResourceType, TransactionDescription,
    TransactionFilter, TransactionListing,
};
pub use client::Client;
pub use config::{ClientConfig, ConnectionConfig};
pub use connection::{Call, Connection, Pending};
pub use consumer::{
    Consumer, ConsumerConfig, GroupProtocol, Isolation, OffsetReset, Position, ReceivedRecord,
};
pub use error::{ClientError, advice};
pub use metadata::{Broker, ClusterMetadata, PartitionMetadata, TopicMetadata};
pub use partitioner::{murmur2, partition_of_key};
pub use producer::{Acks, Delivered, Delivery, Producer, ProducerConfig, ProducerStats, Record};

/// What calls return.
pub type Result<T, E = ClientError> = std::result::Result<T, E>;

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls must be usable from spawned tasks.
    #[expect(dead_code, reason = "compiling it is the test")]
    fn futures_are_send(client: &Client, consumer: &mut Consumer, producer: &Producer) {
        fn send<T: Send>(_: T) {}
        send(Client::connect(ClientConfig::new("")));
        send(client.topic(""));
        send(client.leader("", 0));
        send(client.fetch_metadata(None));
        send(client.create_topic(&NewTopic::default(), false));
        send(client.delete_topic(""));
        send(client.create_partitions("", 1));
        send(client.describe_configs(&ConfigResource::topic(""), false));
        send(client.alter_configs(&ConfigResource::topic(""), &[]));
        send(client.list_groups(&[], &[]));
        send(client.describe_group(""));
        send(client.delete_group(""));
        send(client.list_offsets(&[], Isolation::ReadUncommitted));
        send(client.group_offsets("", None));
        send(client.set_group_offsets("", &[]));
        send(client.delete_group_offsets("", &[]));
        send(consumer.poll(std::time::Duration::ZERO, 1));
        send(consumer.commit());
        send(producer.send("", Record::default()));
        send(producer.flush());
        send(producer.commit());
        send(producer.abort());
    }
}
