//! Order, pipelining, limits and ends of connections, over loopback.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::support::{Client, Script, config, eventually, serve, serve_within};
use ottla_net::{ConnectionLimits, Listener, ListenerConfig, MemoryBudget, NetError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn responses_leave_in_the_order_of_requests() {
    let script = Script::new(None);
    let listener = serve(config(), &script).await;
    let mut client = Client::connect(&listener).await;
    let requests: Vec<String> = (0..200)
        .map(|i| match i % 4 {
            0 => format!("sleep {} {i}", (i * 7) % 23),
            1 => "silent".to_owned(),
            2 => format!("sleep {} {i}", 20 - i % 20),
            _ => format!("echo {i}"),
        })
        .collect();
    let expected: Vec<&String> = requests.iter().filter(|request| *request != "silent").collect();
    let (mut read, mut write) = client.0.split();
    let writing = async {
        for request in &requests {
            let mut frame = u32::try_from(request.len()).unwrap().to_be_bytes().to_vec();
            frame.extend_from_slice(request.as_bytes());
            write.write_all(&frame).await.unwrap();
        }
    };
    let reading = async {
        for request in expected {
            let mut body = vec![0; read.read_u32().await.unwrap() as usize];
            read.read_exact(&mut body).await.unwrap();
            assert_eq!(String::from_utf8(body).unwrap(), *request);
        }
    };
    tokio::join!(writing, reading);
    eventually("all are counted", || listener.stats().responses.load(Ordering::Relaxed) == 150).await;
    assert_eq!(listener.stats().requests.load(Ordering::Relaxed), 200);
}

#[tokio::test]
async fn later_requests_are_taken_while_the_first_waits_and_no_more_than_allowed() {
    let script = Script::new(None);
    let mut config = config();
    config.max_in_flight = 5;
    let listener = serve(config, &script).await;
    let mut client = Client::connect(&listener).await;
    client.send("gate").await;
    for i in 0..20 {
        client.send(format!("echo {i}")).await;
    }
    eventually("five are taken", || script.calls.load(Ordering::SeqCst) == 5).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(script.calls.load(Ordering::SeqCst), 5, "the rest stays in the socket");
    script.gate.add_permits(1);
    assert_eq!(client.receive().await.unwrap(), b"gate");
    for i in 0..20 {
        assert_eq!(client.receive().await.unwrap(), format!("echo {i}").as_bytes());
    }
}

#[tokio::test]
async fn a_held_request_lets_no_other_overtake_it() {
    let script = Script::new(None);
    let listener = serve(config(), &script).await;
    let mut client = Client::connect(&listener).await;
    client.send("gate").await;
    client.send("hold").await;
    client.send("echo a").await;
    eventually("two are taken", || script.calls.load(Ordering::SeqCst) == 2).await;
    script.gate.add_permits(1);
    assert_eq!(client.receive().await.unwrap(), b"gate");
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(script.calls.load(Ordering::SeqCst), 2, "the third stays in the socket");
    script.gate.add_permits(1);
    assert_eq!(client.receive().await.unwrap(), b"hold");
    assert_eq!(client.receive().await.unwrap(), b"echo a");
}

#[tokio::test]
async fn frames_may_arrive_byte_by_byte_and_be_empty() {
    let script = Script::new(None);
    let listener = serve(config(), &script).await;
    let mut client = Client::connect(&listener).await;
    client.0.set_nodelay(true).unwrap();
    for byte in [&[0, 0, 0, 6][..], b"echo a", &[0, 0, 0, 6], b"echo b"].concat() {
        client.0.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(client.receive().await.unwrap(), b"echo a");
    assert_eq!(client.receive().await.unwrap(), b"echo b");
    script.gate.add_permits(1);
    client.send("").await;
    assert_eq!(client.receive().await.unwrap(), b"0");
}

#[tokio::test]
async fn frames_of_every_size_around_the_buffers_come_whole() {
    let script = Script::new(None);
    let listener = serve(config(), &script).await;
    let mut client = Client::connect(&listener).await;
    for len in (5..300).chain(4080..4110).chain(16_370..16_400).chain([100_000, 3_000_000]) {
        let mut request = b"echo ".to_vec();
        request.extend((5..len).map(|i| (i * 31 % 251) as u8));
        let (mut read, mut write) = client.0.split();
        let head = u32::try_from(request.len()).unwrap().to_be_bytes();
        let (_, answer) = tokio::join!(
            async {
                write.write_all(&head).await.unwrap();
                write.write_all(&request).await.unwrap();
            },
            async {
                let mut body = vec![0; read.read_u32().await.unwrap() as usize];
                read.read_exact(&mut body).await.unwrap();
                body
            }
        );
        assert!(answer == request, "a request of {len} bytes");
    }
}

#[tokio::test]
async fn a_bad_length_closes_that_connection_only() {
    let script = Script::new(None);
    let mut config = config();
    config.request_max_bytes = 1000;
    let listener = serve(config, &script).await;
    let mut good = Client::connect(&listener).await;
    for head in [*b"GET ", [0xff; 4], 1001_u32.to_be_bytes()] {
        let mut bad = Client::connect(&listener).await;
        bad.0.write_all(&head).await.unwrap();
        assert_eq!(bad.receive().await, None);
    }
    eventually("they are counted", || listener.stats().invalid_frames.load(Ordering::Relaxed) == 3).await;
    assert_eq!(good.ask("echo still here").await.unwrap(), "echo still here");
    let largest = format!("echo {}", "x".repeat(995));
    assert_eq!(good.ask(&largest).await.unwrap(), largest);
}

#[tokio::test]
async fn a_panic_in_the_service_closes_that_connection_only() {
    let script = Script::new(None);
    let listener = serve(config(), &script).await;
    let (mut good, mut bad) = (Client::connect(&listener).await, Client::connect(&listener).await);
    assert_eq!(bad.ask("panic").await, None);
    assert_eq!(good.ask("echo 1").await.unwrap(), "echo 1");
    eventually("one is left", || listener.stats().open() == 1).await;
}

#[tokio::test]
async fn the_service_can_close_after_earlier_responses() {
    let script = Script::new(None);
    let listener = serve(config(), &script).await;
    let mut client = Client::connect(&listener).await;
    for request in ["sleep 50 a", "echo b", "close", "echo c"] {
        client.send(request).await;
    }
    assert_eq!(client.receive().await.unwrap(), b"sleep 50 a");
    assert_eq!(client.receive().await.unwrap(), b"echo b");
    assert_eq!(client.receive().await, None);
    assert_eq!(script.calls.load(Ordering::SeqCst), 3);

    let mut client = Client::connect(&listener).await;
    client.send("last words").await;
    client.send("echo never").await;
    assert_eq!(client.receive().await.unwrap(), b"last words");
    assert_eq!(client.receive().await, None);
}

#[tokio::test]
async fn a_half_closed_peer_still_gets_its_responses() {
    let script = Script::new(None);
    let listener = serve(config(), &script).await;
    let mut client = Client::connect(&listener).await;
    client.send("sleep 100 a").await;
    client.send("echo b").await;
    client.0.shutdown().await.unwrap();
    assert_eq!(client.receive().await.unwrap(), b"sleep 100 a");
    assert_eq!(client.receive().await.unwrap(), b"echo b");
    assert_eq!(client.receive().await, None);
    eventually("it is closed", || listener.stats().open() == 0).await;
}

#[tokio::test]
async fn a_slow_reader_gets_all_bytes_and_holds_up_nobody() {
    let script = Script::new(None);
    let listener = serve(config(), &script).await;
    let mut slow = Client::connect(&listener).await;
    let request = format!("echo {}", "y".repeat(200_000));
    let taken = {
        let (_, mut write) = slow.0.split();
        let mut sent = 0;
        let frame = [&u32::try_from(request.len()).unwrap().to_be_bytes()[..], request.as_bytes()].concat();
        while tokio::time::timeout(Duration::from_millis(300), write.write_all(&frame)).await.is_ok() {
            sent += 1;
        }
        sent
    };
    assert!(taken < 100, "a peer that does not read is not read from either, after {taken} requests");
    let mut other = Client::connect(&listener).await;
    assert_eq!(other.ask("echo quick").await.unwrap(), "echo quick");
    for _ in 0..taken {
        assert_eq!(slow.receive().await.unwrap(), request.as_bytes());
    }
}

#[tokio::test]
async fn idle_and_stalled_connections_are_closed_but_waiting_ones_are_not() {
    const IDLE: Duration = Duration::from_secs(3);
    let script = Script::new(None);
    let mut config = config();
    config.max_idle = Some(IDLE);
    config.frame_stall = Duration::from_millis(100);
    let listener = serve(config, &script).await;
    let (mut idle, mut stalled, mut waiting) = (
        Client::connect(&listener).await,
        Client::connect(&listener).await,
        Client::connect(&listener).await,
    );
    waiting.send("gate").await;
    stalled.0.write_all(&[0, 0, 0, 9, b'e']).await.unwrap();
    let start = Instant::now();
    assert_eq!(stalled.receive().await, None);
    assert!(start.elapsed() < IDLE, "the stall limit is the shorter one");
    assert_eq!(idle.receive().await, None);
    assert!(start.elapsed() >= IDLE - Duration::from_millis(500));
    tokio::time::sleep(Duration::from_millis(300)).await;
    script.gate.add_permits(1);
    assert_eq!(waiting.receive().await.unwrap(), b"gate");
    assert_eq!(listener.stats().idle_closed.load(Ordering::Relaxed), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_frames_of_many_connections_stay_within_the_budget() {
    const FRAME: usize = 1_000_000;
    let script = Script::new(None);
    let budget = MemoryBudget::new(3 * FRAME + 1000);
    let listener = serve_within(config(), &script, ConnectionLimits::default(), budget.clone()).await;
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let mut client = Client::connect(&listener).await;
        clients.spawn(async move {
            client.send(vec![b'x'; FRAME]).await;
            assert_eq!(client.receive().await.unwrap(), FRAME.to_string().as_bytes());
        });
    }
    eventually("three fit", || script.calls.load(Ordering::SeqCst) == 3).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(script.calls.load(Ordering::SeqCst), 3, "a fourth does not");
    assert!(budget.waits() > 0);
    for round in 4..=20 {
        script.gate.add_permits(1);
        eventually("the next one fits", || script.calls.load(Ordering::SeqCst) == round).await;
        assert!(budget.used_bytes() <= budget.total_bytes());
    }
    script.gate.add_permits(3);
    while let Some(done) = clients.join_next().await {
        done.unwrap();
    }
    eventually("all is given back", || budget.used_bytes() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn responses_that_nobody_reads_stop_at_the_budget() {
    const RESPONSE: usize = 100_000;
    let script = Script::new(None);
    let budget = MemoryBudget::new(500_000);
    // The socket's own buffer is small, so that responses wait in the server.
    let config = ListenerConfig { send_buffer_bytes: Some(4096), ..config() };
    let listener = serve_within(config, &script, ConnectionLimits::default(), budget.clone()).await;
    let request = |_| format!("echo {}", "z".repeat(RESPONSE));
    let mut readers = Vec::new();
    for _ in 0..20 {
        let (read, mut write) = Client::connect(&listener).await.0.into_split();
        readers.push(read);
        tokio::spawn(async move {
            for frame in (0..40).map(request) {
                let sent = write.write_all(&u32::try_from(frame.len()).unwrap().to_be_bytes()).await;
                if sent.is_err() || write.write_all(frame.as_bytes()).await.is_err() {
                    break;
                }
            }
        });
    }
    eventually("it is used up", || budget.unsent_bytes() > budget.total_bytes()).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let bound = budget.total_bytes() + 20 * (RESPONSE + 5);
    assert!(budget.unsent_bytes() <= bound, "{} of {bound}", budget.unsent_bytes());
    let mut answers = vec![0; 40 * (RESPONSE + 9)];
    readers[0].read_exact(&mut answers).await.expect("who reads gets everything");
    drop(readers);
    eventually("all is given back", || budget.unsent_bytes() == 0).await;
}

#[tokio::test]
async fn a_frame_larger_than_the_budget_passes_alone() {
    let script = Script::new(None);
    let budget = MemoryBudget::new(1000);
    let listener = serve_within(config(), &script, ConnectionLimits::default(), budget.clone()).await;
    let mut client = Client::connect(&listener).await;
    let request = format!("echo {}", "z".repeat(50_000));
    assert_eq!(client.ask(&request).await.unwrap(), request);
    eventually("all is given back", || budget.used_bytes() == 0).await;
}

#[tokio::test]
async fn connections_above_the_limits_wait_or_are_closed() {
    let script = Script::new(None);
    let listener =
        serve_within(config(), &script, ConnectionLimits::new(usize::MAX, 2), MemoryBudget::unlimited())
            .await;
    let mut first = Client::connect(&listener).await;
    let mut second = Client::connect(&listener).await;
    assert!(first.ask("echo 1").await.is_some() && second.ask("echo 2").await.is_some());
    assert_eq!(Client::connect(&listener).await.receive().await, None, "a third from the same address");
    assert_eq!(listener.stats().refused.load(Ordering::Relaxed), 1);

    let listener =
        serve_within(config(), &script, ConnectionLimits::new(1, usize::MAX), MemoryBudget::unlimited())
            .await;
    let mut first = Client::connect(&listener).await;
    assert!(first.ask("echo 1").await.is_some());
    let mut second = Client::connect(&listener).await;
    second.send("echo 2").await;
    assert!(
        tokio::time::timeout(Duration::from_millis(200), second.0.readable()).await.is_err(),
        "it waits in the backlog"
    );
    drop(first);
    assert_eq!(second.receive().await.unwrap(), b"echo 2");
}

#[tokio::test]
async fn shutdown_answers_what_was_taken_and_cuts_off_what_does_not_end() {
    let script = Script::new(None);
    let listener = serve(config(), &script).await;
    let address = listener.address();
    let mut client = Client::connect(&listener).await;
    let mut quiet = Client::connect(&listener).await;
    client.send("sleep 200 a").await;
    eventually("it is taken", || script.calls.load(Ordering::SeqCst) == 1).await;
    let (drained, ()) = tokio::join!(listener.shutdown(Duration::from_secs(10)), async {
        assert_eq!(client.receive().await.unwrap(), b"sleep 200 a");
        assert_eq!(client.receive().await, None);
        assert_eq!(quiet.receive().await, None);
    });
    assert!(drained);
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "nobody listens any more");

    let listener = serve(config(), &script).await;
    let mut client = Client::connect(&listener).await;
    client.send("gate").await;
    eventually("it is taken", || script.calls.load(Ordering::SeqCst) == 2).await;
    let start = Instant::now();
    assert!(!listener.shutdown(Duration::from_millis(100)).await);
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(client.receive().await, None);
}

#[tokio::test]
async fn a_taken_address_is_named_with_advice() {
    let script = Script::new(None);
    let listener = serve(config(), &script).await;
    let mut again = config();
    again.port = listener.address().port();
    let error =
        Listener::bind(again, std::sync::Arc::default(), MemoryBudget::unlimited()).await.unwrap_err();
    assert!(matches!(error, NetError::Bind { .. }));
    let text = error.to_string();
    assert!(text.contains(&listener.address().to_string()) && text.contains("listeners"), "{text}");

    let mut unknown = config();
    unknown.host = "no-such-host.invalid".to_owned();
    let error =
        Listener::bind(unknown, std::sync::Arc::default(), MemoryBudget::unlimited()).await.unwrap_err();
    assert!(error.to_string().contains("no-such-host.invalid"), "{error}");
}

#[tokio::test]
async fn a_muting_response_leaves_at_once_and_the_next_request_waits() {
    let script = Script::new(None);
    let listener = serve(config(), &script).await;
    let mut client = Client::connect(&listener).await;
    let begin = Instant::now();
    client.send("mute 3000 a").await;
    client.send("echo b").await;
    assert_eq!(client.receive().await.unwrap(), b"mute 3000 a");
    assert!(begin.elapsed() < Duration::from_millis(3000), "the response does not wait");
    assert_eq!(client.receive().await.unwrap(), b"echo b");
    assert!(begin.elapsed() >= Duration::from_millis(3000));
    let begin = Instant::now();
    client.send("pause 300").await;
    assert_eq!(client.ask("echo c").await.unwrap(), "echo c");
    assert!(begin.elapsed() >= Duration::from_millis(300));
    assert_eq!(listener.stats().muted.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_muted_connection_is_neither_idle_nor_in_the_way_of_a_stop() {
    let script = Script::new(None);
    let mut config = config();
    config.max_idle = Some(Duration::from_millis(100));
    config.frame_stall = Duration::from_millis(100);
    let listener = serve(config, &script).await;
    let mut client = Client::connect(&listener).await;
    let mut other = Client::connect(&listener).await;
    assert_eq!(client.ask("mute 1000 a").await.unwrap(), "mute 1000 a");
    assert_eq!(other.ask("mute 600000 a").await.unwrap(), "mute 600000 a");
    client.0.write_all(&[0, 0]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(600)).await;
    client.0.write_all(b"\0\x06echo b").await.unwrap();
    assert_eq!(client.receive().await.unwrap(), b"echo b");
    let begin = Instant::now();
    assert!(listener.shutdown(Duration::from_secs(20)).await);
    assert!(begin.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn connections_above_a_lowered_limit_are_closed_longest_idle_first() {
    let script = Script::new(None);
    let limits = Arc::new(ConnectionLimits::default());
    let listener = Listener::bind(config(), Arc::clone(&limits), MemoryBudget::unlimited()).await.unwrap();
    let listener = listener.serve(Arc::clone(&script));
    let mut old = Client::connect(&listener).await;
    old.ask("echo a").await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    let mut new = Client::connect(&listener).await;
    new.ask("echo b").await.unwrap();
    limits.update(|settings| settings.max = 1);
    assert_eq!(old.receive().await, None);
    assert_eq!(new.ask("echo c").await.unwrap(), "echo c");
    assert_eq!(listener.stats().evicted.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn an_address_that_connects_too_fast_is_cut_off_after_a_pause() {
    let script = Script::new(None);
    let limits = Arc::new(ConnectionLimits::default());
    limits.set_ip_rates(Some(1.0), std::collections::HashMap::new());
    let listener = Listener::bind(config(), Arc::clone(&limits), MemoryBudget::unlimited()).await.unwrap();
    let listener = listener.serve(Arc::clone(&script));
    let mut clients = Vec::new();
    for _ in 0..10 {
        let mut client = Client::connect(&listener).await;
        client.ask("echo a").await.unwrap();
        clients.push(client);
    }
    let mut refused = 0;
    for _ in 0..3 {
        let mut client = Client::connect(&listener).await;
        // It may be gone before it is asked.
        _ = client.0.write_all(b"\0\0\0\x06echo b").await;
        refused += usize::from(client.receive().await.is_none());
    }
    assert!(refused >= 1, "ten in ten seconds are allowed, and a little more while this test runs");
    assert_eq!(listener.stats().throttled.load(Ordering::Relaxed), refused as u64);
    limits.set_ip_rates(None, std::collections::HashMap::new());
    assert_eq!(Client::connect(&listener).await.ask("echo a").await.unwrap(), "echo a");
}
