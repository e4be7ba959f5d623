//! The client against a running broker, whichever: `OTTLA_TEST_BOOTSTRAP=host:port cargo test -p ottla-client`.
//!
//! Apache Kafka 4.4 and ottla must both pass. The broker needs `auto.create.topics.enable` (the default) and room for
//! replication factor 1 in its internal topics.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ottla_client::{
    Acks, AlterConfig, Client, ClientConfig, ClientError, ConfigResource, Consumer, ConsumerConfig,
    GroupProtocol, Isolation, NewTopic, OffsetReset, OffsetSpec, Position, Producer, ProducerConfig,
    ReceivedRecord, Record, partition_of_key,
};
use ottla_protocol::ErrorCode;
use ottla_record::Compression;
use ottla_types::{Offset, TopicPartition};

type TestResult = Result<(), ClientError>;

fn bootstrap() -> Option<String> {
    let address = std::env::var("OTTLA_TEST_BOOTSTRAP").ok();
    if address.is_none() {
        eprintln!("SKIPPED: OTTLA_TEST_BOOTSTRAP is not set; nothing was tested");
    }
    address
}

async fn client() -> Option<Client> {
    // RUST_LOG=ottla_client=debug shows what goes on.
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
    let mut config = ClientConfig::new(&bootstrap()?);
    config.api_timeout = Duration::from_secs(30);
    Some(Client::connect(config).await.expect("the broker answers"))
}

/// A name that earlier runs have not used.
fn unique(name: &str) -> String {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    format!("{name}-{nanos}")
}

async fn topic(client: &Client, name: &str, partitions: i32) -> Result<String, ClientError> {
    let name = unique(name);
    let topic = NewTopic { name: name.clone(), partitions: Some(partitions), ..NewTopic::default() };
    client.create_topic(&topic, false).await?;
    Ok(name)
}

/// Reads until `count` records have come.
async fn receive(consumer: &mut Consumer, count: usize) -> Result<Vec<ReceivedRecord>, ClientError> {
    let mut records = Vec::new();
    let started = std::time::Instant::now();
    while records.len() < count {
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "{} of {count} records within 60 s",
            records.len()
        );
        records.extend(consumer.poll(Duration::from_secs(1), count - records.len()).await?);
    }
    Ok(records)
}

/// Polls until this member has two partitions, and all together have seen `count` records.
async fn read_share(
    consumer: &mut Consumer,
    seen: &Mutex<BTreeSet<(i32, Offset)>>,
    count: usize,
) -> TestResult {
    let started = std::time::Instant::now();
    while seen.lock().unwrap().len() < count || consumer.positions().count() != 2 {
        assert!(started.elapsed() < Duration::from_secs(60), "not all within 60 s");
        for record in consumer.poll(Duration::from_millis(200), 1000).await? {
            let is_new = seen.lock().unwrap().insert((record.partition, record.offset));
            assert!(is_new, "{}-{} came twice", record.partition, record.offset);
        }
    }
    Ok(())
}

fn earliest(topic: &str, partitions: i32) -> Vec<(TopicPartition, Position)> {
    (0..partitions).map(|index| (TopicPartition::new(topic, index), Position::Earliest)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_come_back_as_they_were_sent_in_every_codec() -> TestResult {
    let Some(client) = client().await else { return Ok(()) };
    for compression in Compression::ALL {
        let topic = topic(&client, compression.name(), 1).await?;
        let producer =
            Producer::new(client.clone(), ProducerConfig { compression, ..ProducerConfig::default() })
                .await?;
        let sent: Vec<Record> = (0..500)
            .map(|i| Record {
                key: (i % 3 != 0).then(|| format!("key-{i}").into()),
                value: (i % 7 != 0).then(|| format!("value {i} ").repeat(i % 40).into()),
                headers: (0..i % 3)
                    .map(|h| (format!("h{h}"), (h > 0).then(|| vec![0, 255, h as u8].into())))
                    .collect(),
                timestamp: Some(1_700_000_000_000 + i as i64),
                partition: Some(0),
            })
            .collect();
        let mut deliveries = Vec::new();
        for record in &sent {
            deliveries.push(producer.send(&topic, record.clone()).await?);
        }
        for (delivery, offset) in deliveries.into_iter().zip(0..) {
            assert_eq!(delivery.await?.offset, Offset(offset));
        }
        let mut consumer = Consumer::new(client.clone(), ConsumerConfig::default());
        consumer.assign(earliest(&topic, 1));
        let received = receive(&mut consumer, sent.len()).await?;
        for ((sent, received), offset) in sent.iter().zip(&received).zip(0..) {
            assert_eq!(received.offset, Offset(offset));
            assert_eq!((&received.key, &received.value), (&sent.key, &sent.value));
            assert_eq!((&received.headers, Some(received.timestamp)), (&sent.headers, sent.timestamp));
        }
        assert!(consumer.poll(Duration::from_millis(100), 10).await?.is_empty());
        assert!(consumer.is_at_end());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_choose_partitions_and_order_holds_within_them() -> TestResult {
    const COUNT: usize = 20_000;
    let Some(client) = client().await else { return Ok(()) };
    let topic = topic(&client, "keys", 4).await?;
    let producer = Producer::new(client.clone(), ProducerConfig::default()).await?;
    for i in 0..COUNT {
        let record = Record::new(Some(format!("k{}", i % 100)), Some(i.to_string()));
        producer.enqueue(&topic, record).await?;
    }
    producer.flush().await?;
    assert_eq!(producer.stats().delivered.load(std::sync::atomic::Ordering::Relaxed), COUNT as u64);

    let mut consumer = Consumer::new(client, ConsumerConfig::default());
    consumer.assign(earliest(&topic, 4));
    let mut last = BTreeMap::new();
    for record in receive(&mut consumer, COUNT).await? {
        let key = record.key.unwrap();
        assert_eq!(record.partition, partition_of_key(&key, 4));
        let number: i64 = std::str::from_utf8(&record.value.unwrap()).unwrap().parse().unwrap();
        let before = last.insert(key, number);
        assert!(before.is_none_or(|before| before + 100 == number), "in order and without gap");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acks_setting_delivers_and_oversized_batches_are_split() -> TestResult {
    let Some(client) = client().await else { return Ok(()) };
    let name = unique("acks");
    let configs = vec![("max.message.bytes".to_owned(), "20000".to_owned())];
    let new = NewTopic { name: name.clone(), partitions: Some(1), configs, ..NewTopic::default() };
    client.create_topic(&new, false).await?;
    for acks in [Acks::None, Acks::Leader, Acks::All] {
        let producer =
            Producer::new(client.clone(), ProducerConfig { acks, ..ProducerConfig::default() }).await?;
        for _ in 0..10 {
            // With acks=0 nobody would hear of a batch that is too large.
            let len = if acks == Acks::None { 100 } else { 9_000 };
            producer.enqueue(&name, Record::of_value(vec![b'x'; len])).await?;
        }
        producer.flush().await?;
    }
    let producer = Producer::new(client.clone(), ProducerConfig::default()).await?;
    let refused = producer.send(&name, Record::of_value(vec![b'x'; 30_000])).await?.await.unwrap_err();
    assert_eq!(refused.code(), Some(ErrorCode::MessageTooLarge));
    assert!(refused.to_string().contains("max.message.bytes"), "{refused}");
    // The sequence goes on after a refusal.
    producer.send(&name, Record::of_value("after")).await?.await?;

    let mut consumer = Consumer::new(client, ConsumerConfig::default());
    consumer.assign(earliest(&name, 1));
    let received = receive(&mut consumer, 31).await?;
    assert_eq!(received[30].value.as_deref(), Some(&b"after"[..]));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn positions_are_found_by_end_offset_and_time() -> TestResult {
    let Some(client) = client().await else { return Ok(()) };
    let topic = topic(&client, "positions", 1).await?;
    let producer = Producer::new(client.clone(), ProducerConfig::default()).await?;
    for i in 0..10 {
        let record = Record { timestamp: Some(1_000 + i * 100), ..Record::of_value(i.to_string()) };
        producer.send(&topic, record).await?.await?;
    }
    let partition = TopicPartition::new(&topic, 0);
    for (spec, offset) in [
        (OffsetSpec::Earliest, Some(0)),
        (OffsetSpec::Latest, Some(10)),
        (OffsetSpec::Timestamp(1_350), Some(4)),
        (OffsetSpec::Timestamp(99_999), None),
        (OffsetSpec::MaxTimestamp, Some(9)),
    ] {
        let found = client.list_offsets(&[(partition.clone(), spec)], Isolation::ReadCommitted).await?;
        assert_eq!(found[&partition].offset, offset.map(Offset), "{spec:?}");
    }
    for (from, first) in [(Position::At(Offset(7)), 7), (Position::Since(1_801), 9), (Position::Earliest, 0)]
    {
        let mut consumer = Consumer::new(client.clone(), ConsumerConfig::default());
        consumer.assign([(partition.clone(), from)]);
        assert_eq!(receive(&mut consumer, 1).await?[0].offset, Offset(first), "{from:?}");
    }
    let mut consumer = Consumer::new(client.clone(), ConsumerConfig::default());
    consumer.assign([(partition.clone(), Position::Latest)]);
    assert!(consumer.poll(Duration::from_millis(300), 10).await?.is_empty());
    producer.send(&topic, Record::of_value("new")).await?.await?;
    assert_eq!(receive(&mut consumer, 1).await?[0].offset, Offset(10));

    let config = ConsumerConfig { reset: OffsetReset::None, ..ConsumerConfig::default() };
    let mut consumer = Consumer::new(client, config);
    consumer.assign([(partition, Position::At(Offset(1_000)))]);
    let error = consumer.poll(Duration::from_secs(20), 10).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::OffsetOutOfRange));
    Ok(())
}

/// For a group without members.
async fn group_offsets_are_set_and_deleted(client: &Client, group: &str, topic: &str) -> TestResult {
    client.set_group_offsets(group, &[(TopicPartition::new(topic, 2), Offset(5))]).await?;
    let partitions = [TopicPartition::new(topic, 2), TopicPartition::new(topic, 99)];
    let offsets = client.group_offsets(group, Some(&partitions)).await?;
    assert_eq!(
        offsets.into_iter().map(|(it, at)| (it.partition, at.offset)).collect::<Vec<_>>(),
        [(2, Offset(5))]
    );
    match client.delete_group_offsets(group, &partitions[..1]).await {
        Err(ClientError::Unsupported { .. }) => eprintln!("SKIPPED: the broker does not serve OffsetDelete"),
        deleted => {
            deleted?;
            assert!(client.group_offsets(group, Some(&partitions)).await?.is_empty());
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_shares_partitions_commits_and_goes_on() -> TestResult {
    let Some(client) = client().await else { return Ok(()) };
    let topic = topic(&client, "group", 4).await?;
    let group = unique("group");
    let producer = Producer::new(client.clone(), ProducerConfig::default()).await?;
    for i in 0..400 {
        let record = Record { partition: Some(i % 4), ..Record::of_value(i.to_string()) };
        producer.enqueue(&topic, record).await?;
    }
    producer.flush().await?;
    let config = ConsumerConfig {
        group: Some(group.clone()),
        reset: OffsetReset::Earliest,
        heartbeat_interval: Duration::from_millis(300),
        ..ConsumerConfig::default()
    };

    // Alone: all partitions, but only half of the records are taken.
    let mut first = Consumer::new(client.clone(), config.clone());
    first.subscribe(&[&topic])?;
    let seen: Mutex<BTreeSet<_>> =
        Mutex::new(receive(&mut first, 200).await?.into_iter().map(|r| (r.partition, r.offset)).collect());
    first.commit().await?;
    let described = client.describe_group(&group).await?;
    assert_eq!(
        (described.state.as_str(), described.kind, described.assignor.as_str()),
        ("Stable", "classic", "range")
    );
    assert_eq!(described.members.len(), 1);
    assert_eq!(described.members[0].partitions.len(), 4);
    assert!(
        client
            .list_groups(&[], &[])
            .await?
            .iter()
            .any(|listed| listed.group == group && listed.state == "Stable")
    );
    assert_eq!(client.delete_group(&group).await.unwrap_err().code(), Some(ErrorCode::NonEmptyGroup));

    // A second member takes over two of them; each record comes once.
    let mut second = Consumer::new(client.clone(), config.clone());
    second.subscribe(&[&topic])?;
    let (a, b) = tokio::join!(read_share(&mut first, &seen, 400), read_share(&mut second, &seen, 400));
    a.and(b)?;
    for i in 0..400 {
        let record = Record { partition: Some(i % 4), ..Record::of_value(i.to_string()) };
        producer.enqueue(&topic, record).await?;
    }
    producer.flush().await?;
    let (a, b) = tokio::join!(read_share(&mut first, &seen, 800), read_share(&mut second, &seen, 800));
    a.and(b)?;
    assert_eq!(client.describe_group(&group).await?.members.len(), 2);

    first.close().await?;
    second.close().await?;
    let offsets = client.group_offsets(&group, None).await?;
    assert_eq!(offsets.len(), 4);
    assert!(offsets.values().all(|committed| committed.offset == Offset(200)));
    assert_eq!(client.describe_group(&group).await?.state, "Empty");

    // A third goes on where they stopped.
    producer.send(&topic, Record::of_value("new")).await?.await?;
    let mut third = Consumer::new(client.clone(), config);
    third.subscribe(&[&topic])?;
    assert_eq!(receive(&mut third, 1).await?[0].value.as_deref(), Some(&b"new"[..]));
    third.close().await?;

    group_offsets_are_set_and_deleted(&client, &group, &topic).await?;
    client.delete_group(&group).await?;
    assert_eq!(client.describe_group(&group).await.unwrap_err().code(), Some(ErrorCode::GroupIdNotFound));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_are_created_grown_configured_and_deleted() -> TestResult {
    let Some(client) = client().await else { return Ok(()) };
    let name = unique("admin");
    let new = NewTopic {
        name: name.clone(),
        partitions: Some(2),
        replication_factor: Some(1),
        configs: vec![("retention.ms".to_owned(), "12345".to_owned())],
        ..NewTopic::default()
    };
    client.create_topic(&new, true).await?;
    assert!(client.fetch_metadata(Some(&[&name])).await?.topics.is_empty(), "only validated");
    let id = client.create_topic(&new, false).await?;
    let again = client.create_topic(&new, false).await.unwrap_err();
    assert_eq!(again.code(), Some(ErrorCode::TopicAlreadyExists));
    let described = client.topic(&name).await?;
    assert_eq!((described.id, described.partitions.len()), (id, 2));

    client.create_partitions(&name, 5).await?;
    let started = std::time::Instant::now();
    while client.fetch_metadata(Some(&[&name])).await?.topics[&*name].partitions.len() < 5 {
        assert!(started.elapsed() < Duration::from_secs(10));
    }
    assert_eq!(
        client.create_partitions(&name, 3).await.unwrap_err().code(),
        Some(ErrorCode::InvalidPartitions)
    );

    let resource = ConfigResource::topic(&name);
    // With eligible leader replicas a cluster-wide min.insync.replicas is set too.
    let own = |entries: Vec<ottla_client::ConfigEntry>| -> Vec<(String, Option<String>)> {
        entries
            .into_iter()
            .filter(|entry| entry.is_own && entry.name != "min.insync.replicas")
            .map(|entry| (entry.name, entry.value))
            .collect()
    };
    assert_eq!(
        own(client.describe_configs(&resource, false).await?),
        [("retention.ms".to_owned(), Some("12345".to_owned()))]
    );
    let changes = [
        AlterConfig::Delete("retention.ms".to_owned()),
        AlterConfig::Set("cleanup.policy".to_owned(), "compact".to_owned()),
    ];
    client.alter_configs(&resource, &changes).await?;
    let started = std::time::Instant::now();
    let expected = [("cleanup.policy".to_owned(), Some("compact".to_owned()))];
    while own(client.describe_configs(&resource, false).await?) != expected {
        assert!(started.elapsed() < Duration::from_secs(10));
    }
    let bad = client
        .alter_configs(&resource, &[AlterConfig::Set("cleanup.policy".to_owned(), "x".to_owned())])
        .await;
    assert_eq!(bad.unwrap_err().code(), Some(ErrorCode::InvalidConfig));

    client.delete_topic(&name).await?;
    let missing = client.delete_topic(&name).await.unwrap_err().to_string();
    assert!(missing.contains("does not exist"), "{missing}");
    let missing = client.topic(&name).await.unwrap_err();
    assert!(missing.to_string().contains("ottla topic create"), "{missing}");
    Ok(())
}

#[tokio::test]
async fn nobody_listening_is_said_plainly() {
    let error = Client::connect(ClientConfig::new("127.0.0.1:1")).await.unwrap_err().to_string();
    assert!(error.contains("127.0.0.1:1") && error.contains("is a broker listening"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stays_with_a_member_is_read_on_while_another_joins() -> TestResult {
    let Some(client) = client().await else { return Ok(()) };
    let versions = client.node_versions(None).await?;
    if !versions.apis.contains_key(&ottla_protocol::ApiKey::ConsumerGroupHeartbeat.code()) {
        return Ok(());
    }
    let topic = topic(&client, "incremental", 2).await?;
    let producer = Producer::new(client.clone(), ProducerConfig::default()).await?;
    for index in [0, 1] {
        for i in 0..10 {
            let record = Record { partition: Some(index), ..Record::of_value(format!("{i}")) };
            producer.enqueue(&topic, record).await?;
        }
    }
    producer.flush().await?;
    let config = ConsumerConfig {
        group: Some(unique("incremental")),
        protocol: GroupProtocol::Consumer,
        reset: OffsetReset::Earliest,
        // What was given up and taken again would be read again.
        auto_commit: None,
        ..ConsumerConfig::default()
    };
    let mut first = Consumer::new(client.clone(), config.clone());
    first.subscribe(&[&topic])?;
    receive(&mut first, 20).await?;
    let mut second = Consumer::new(client.clone(), config);
    second.subscribe(&[&topic])?;
    let (mut again, mut of_second) = (Vec::new(), Vec::new());
    let started = std::time::Instant::now();
    let pause = Duration::from_millis(200);
    while of_second.len() < 10 || first.positions().count() != 1 || second.positions().count() != 1 {
        assert!(started.elapsed() < Duration::from_secs(60), "they do not share within 60 s");
        let (a, b) = tokio::join!(first.poll(pause, 100), second.poll(pause, 100));
        again.extend(a?);
        of_second.extend(b?);
    }
    assert_eq!(again, [], "the partition that stayed was read once");
    let (kept, offset) = first.positions().next().expect("a partition");
    assert_eq!(offset, Some(Offset(10)));
    assert!(of_second.iter().all(|record| record.partition != kept.partition));
    // And the other way round: what comes is taken up beside what is there.
    second.leave().await?;
    let returned = receive(&mut first, 10).await?;
    assert!(returned.iter().all(|record| record.partition == of_second[0].partition));
    assert_eq!(first.positions().count(), 2);
    first.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_transaction_has_an_epoch_of_its_own_where_the_cluster_can() -> TestResult {
    let Some(client) = client().await else { return Ok(()) };
    let level = client.node_versions(None).await?.finalized_features.get("transaction.version").copied();
    let bump = i32::from(level.is_some_and(|level| level >= 2));
    let (topic, id) = (topic(&client, "epochs", 2).await?, unique("epochs"));
    let config = ProducerConfig { transactional_id: Some(id.clone()), ..ProducerConfig::default() };
    let producer = Producer::new(client.clone(), config).await?;
    let epoch = async || client.describe_transaction(&id).await.map(|it| i32::from(it.producer_epoch));
    let before = epoch().await?;
    let mut expected = Vec::new();
    for round in 0..6 {
        for index in [0, 1] {
            let value = format!("{round}-{index}");
            let record = Record { partition: Some(index), ..Record::of_value(value.clone()) };
            producer.enqueue(&topic, record).await?;
            if round % 3 != 2 {
                expected.push(value);
            }
        }
        if round % 3 == 2 {
            producer.abort().await?
        } else {
            producer.commit().await?
        }
        assert_eq!(epoch().await?, before + bump * (round + 1), "after transaction {round}");
    }
    let config = ConsumerConfig { isolation: Isolation::ReadCommitted, ..ConsumerConfig::default() };
    let mut consumer = Consumer::new(client.clone(), config);
    consumer.assign(earliest(&topic, 2));
    let received = receive(&mut consumer, expected.len()).await?;
    let value =
        |record: &ReceivedRecord| String::from_utf8_lossy(record.value.as_ref().unwrap()).into_owned();
    let mut values: Vec<_> = received.iter().map(value).collect();
    values.sort();
    assert_eq!(values, expected);
    assert_eq!(consumer.poll(Duration::from_secs(1), 10).await?, []);
    Ok(())
}
