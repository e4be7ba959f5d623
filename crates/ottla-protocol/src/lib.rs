//! Kafka's wire messages, metadata records and coordinator records.
