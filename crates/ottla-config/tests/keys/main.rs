//! Keys and values: the table, what is read of it, and Apache Kafka's own classes.

mod documents;
mod kafka;
mod node;
mod table;
mod works;
