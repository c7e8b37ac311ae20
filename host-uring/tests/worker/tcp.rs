//! Services of TCP on the in-memory runtime: which server, what passes, how it ends.

use crate::memory::{Lab, sleep_ms};
use forebay_host_uring::config::HealthState;
use forebay_host_uring::l4::record::End;

const ONE: &str = "10.0.0.1:80";
const TWO: &str = "10.0.0.2:80";

fn document(pool: &str, servers: &[&str], rest: &str) -> String {
    let servers: String = servers.iter().map(|at| format!("[[pool.server]]\naddress = \"{at}\"\n")).collect();
    format!(
        "version = 1\n[[virtual_service]]\nname = \"db\"\nlisten = [\"192.0.2.1:80\"]\nprotocol = \"tcp\"\n\
         pool = \"db\"\ntcp_profile = \"p\"\n[[tcp_profile]]\nname = \"p\"\nidle_timeout_ms = 5000\n\
         [[pool]]\nname = \"db\"\nalgorithm = \"round_robin\"\nconnection_ramp_min = 0\n{pool}\n{servers}{rest}"
    )
}

/// A server that greets with its name and echoes until its client ends, then says goodbye.
fn echo(lab: &Lab, address: &'static str, name: &'static str) {
    lab.server(address, move |_, mut peer| async move {
        peer.send(name).await;
        let said = peer.all().await;
        peer.send(format!("[{said}]")).await;
    });
}

fn ended(lab: &Lab, end: End) -> u64 {
    lab.of_service(0).ended[end as usize].get()
}

//= test L4-TCP-01
//= test L4-HALF-01
//= test L4-LOG-01
#[test]
fn the_server_may_speak_first_and_each_side_ends_by_itself() {
    let mut lab = Lab::new(&document("", &[ONE], ""));
    echo(&lab, ONE, "one;");
    let (greeting, rest, reset) = lab.run(async {
        let mut client = lab.client().await;
        let greeting = client.until(";").await;
        client.send("hello").await;
        // The client's data ends; what the server says after that still comes.
        client.end();
        let (rest, reset) = client.all_and_reset().await;
        lab.sleep_ms(10).await;
        (greeting, rest, reset)
    });
    assert_eq!((greeting.as_str(), rest.as_str(), reset), ("one;", "[hello]", false));
    assert_eq!(ended(&lab, End::Whole), 1);
    assert_eq!(lab.metrics.connections.now(), 0);
    assert_eq!(lab.of_server(0).active.now(), 0);
    let log = lab.log();
    assert_eq!(log.len(), 1, "one line for each connection: {log:?}");
    assert_eq!((&log[0]["connection_state"], &log[0]["server_ip"]), (&"complete".into(), &"10.0.0.1".into()));
    assert_eq!((log[0]["rx_bytes"].as_u64(), log[0]["tx_bytes"].as_u64()), (Some(5), Some(11)));
    assert_eq!(log[0]["reason"]["algorithm"], "round_robin");
    let server = lab.of_server(0);
    assert_eq!((server.tx_bytes.get(), server.rx_bytes.get()), (5, 11));
    let service = lab.of_service(0);
    assert_eq!((service.rx_bytes.get(), service.tx_bytes.get()), (5, 11));
}

//= test L4-HALF-01
#[test]
fn a_server_that_ends_first_still_gets_what_the_client_sends() {
    let lab = Lab::new(&document("", &[ONE], ""));
    let got = std::rc::Rc::new(std::cell::RefCell::new(String::new()));
    let seen = got.clone();
    lab.server(ONE, move |_, mut peer| {
        let seen = seen.clone();
        async move {
            peer.send("all that I say").await;
            peer.end();
            *seen.borrow_mut() = peer.all().await;
        }
    });
    lab.run(async {
        let mut client = lab.client().await;
        assert_eq!(client.all().await, "all that I say");
        client.send("and yet").await;
        client.end();
        lab.sleep_ms(10).await;
    });
    assert_eq!(got.borrow().as_str(), "and yet");
    assert_eq!(ended(&lab, End::Whole), 1);
}

//= test L4-RESET-01
#[test]
fn a_reset_of_one_side_reaches_the_other_as_a_reset() {
    let mut lab = Lab::new(&document("", &[ONE], ""));
    let resets = std::rc::Rc::new(std::cell::Cell::new(0));
    let seen = resets.clone();
    lab.server(ONE, move |_, mut peer| {
        let seen = seen.clone();
        async move {
            peer.send("hi;").await;
            if peer.until(";").await == "die;" {
                peer.reset();
            } else {
                let (_, reset) = peer.all_and_reset().await;
                seen.set(seen.get() + u32::from(reset));
            }
        }
    });
    lab.run(async {
        let mut client = lab.client().await;
        assert_eq!(client.until(";").await, "hi;");
        client.send("die;").await;
        let (said, reset) = client.all_and_reset().await;
        assert_eq!((said.as_str(), reset), ("", true), "a cut stream must not pass for a whole one");
        let mut client = lab.client().await;
        client.send("live;").await;
        client.until(";").await;
        client.reset();
        lab.sleep_ms(10).await;
    });
    assert_eq!(resets.get(), 1, "the server learns that its client is gone");
    assert_eq!((ended(&lab, End::ServerFailed), ended(&lab, End::ClientFailed)), (1, 1));
    assert_eq!(lab.of_server(0).aborts.get(), 0, "a server that has spoken has served");
    assert!(lab.log().iter().all(|line| line["significant"] == true));
}

/// Whoever says his last and closes at once resets when the other side says something after that.
//= test L4-RESET-01
#[test]
fn the_end_of_a_servers_data_arrives_although_it_resets_after_it() {
    let mut lab = Lab::new(&document("", &[ONE], ""));
    lab.server(ONE, |_, mut peer| async move {
        peer.send("bye").await;
        peer.end();
        peer.until(";").await;
        peer.reset();
    });
    let (said, reset) = lab.run(async {
        let mut client = lab.client().await;
        lab.sleep_ms(10).await;
        client.send("one more;").await;
        lab.sleep_ms(10).await;
        client.send("and that;").await;
        lab.sleep_ms(10).await;
        client.all_and_reset().await
    });
    assert_eq!((said.as_str(), reset), ("bye", false));
    assert_eq!(ended(&lab, End::ServerFailed), 1);
    assert_eq!(lab.of_server(0).aborts.get(), 0);
    assert_eq!(lab.log()[0]["significant"], true);
}

//= test L4-RESET-01
#[test]
fn the_end_of_a_clients_data_arrives_although_it_resets_after_it() {
    let mut lab = Lab::new(&document("", &[ONE], ""));
    let got = std::rc::Rc::new(std::cell::RefCell::new(None));
    let seen = got.clone();
    lab.server(ONE, move |rt, mut peer| {
        let seen = seen.clone();
        async move {
            sleep_ms(&rt, 100).await;
            peer.send("too late").await;
            sleep_ms(&rt, 100).await;
            *seen.borrow_mut() = Some(peer.all_and_reset().await);
        }
    });
    lab.run(async {
        let mut client = lab.client().await;
        client.send("bye").await;
        client.end();
        lab.sleep_ms(10).await;
        client.reset();
        lab.sleep_ms(1_000).await;
    });
    let (said, reset) = got.take().expect("the server has read it");
    assert_eq!((said.as_str(), reset), ("bye", false));
    assert_eq!(ended(&lab, End::ClientFailed), 1);
    assert_eq!(lab.log()[0]["significant"], true);
}

//= test L4-RESET-01
#[test]
fn a_server_that_resets_before_its_first_byte_is_charged_with_it() {
    let lab = Lab::new(&document("", &[ONE], ""));
    lab.server(ONE, |_, peer| async move { peer.reset() });
    lab.run(async {
        let mut client = lab.client().await;
        assert_eq!(client.all_and_reset().await, (String::new(), true));
        lab.sleep_ms(10).await;
    });
    assert_eq!(lab.of_server(0).aborts.get(), 1);
}

//= test L4-IDLE-01
#[test]
fn nothing_for_the_idle_time_ends_it_and_one_direction_keeps_it_alive() {
    let lab = Lab::new(&document("", &[ONE], ""));
    lab.server(ONE, |rt, mut peer| async move {
        for _ in 0..4 {
            peer.send("tick").await;
            sleep_ms(&rt, 4_000).await;
        }
        peer.until("never").await;
    });
    let took = lab.run(async {
        let mut client = lab.client().await;
        let begin = lab.now_us();
        let (said, reset) = client.all_and_reset().await;
        assert_eq!((said.len(), reset), (16, true));
        lab.now_us() - begin
    });
    assert!((17_000_000..17_100_000).contains(&took), "five seconds after the last tick: {took} us");
    assert_eq!((ended(&lab, End::Idle), lab.metrics.timeouts.tcp_idle.get()), (1, 1));
}

//= test L4-RETRY-01
#[test]
fn a_server_that_takes_no_connection_is_passed_over_and_one_that_did_is_not() {
    let mut lab = Lab::new(&document("", &[ONE, TWO], ""));
    echo(&lab, TWO, "two;");
    lab.run(async {
        for _ in 0..2 {
            let mut client = lab.client().await;
            assert_eq!(client.until(";").await, "two;");
            client.end();
            client.all().await;
        }
        lab.sleep_ms(10).await;
    });
    assert_eq!(lab.of_server(0).connect_failures.get(), 1, "round robin: every second one begins there");
    assert_eq!(lab.of_pool(0).retries.get(), 1);
    let log = lab.log();
    let tried: Vec<_> = log.iter().map(|line| line["servers_tried"].as_u64()).collect();
    assert!(tried.contains(&Some(2)) && tried.contains(&Some(1)), "{tried:?}");

    let lab = Lab::new(&document("server_reselect = { num_retries = 0 }", &[ONE, TWO], ""));
    echo(&lab, TWO, "two;");
    lab.run(async {
        let mut client = lab.client().await;
        assert_eq!(client.all_and_reset().await, (String::new(), true), "no retry was asked for");
        lab.sleep_ms(10).await;
    });
    assert_eq!(ended(&lab, End::Unconnected), 1);
}

#[test]
fn a_client_without_a_server_is_reset() {
    let lab = Lab::new(&document("", &[ONE], ""));
    lab.set_health(0, HealthState::Down);
    lab.run(async {
        let mut client = lab.client().await;
        assert_eq!(client.all_and_reset().await, (String::new(), true));
        lab.sleep_ms(10).await;
    });
    assert_eq!((ended(&lab, End::NoServer), lab.of_pool(0).no_server.get()), (1, 1));
}

//= test L4-TCP-01
#[test]
fn a_client_address_stays_with_its_server_as_long_as_it_is_connected_and_a_while_longer() {
    let rest = "[[persistence]]\nname = \"ip\"\ntype = \"client_ip\"\ntimeout_min = 1\n";
    let lab = Lab::new(&document("persistence = \"ip\"", &[ONE, TWO], rest));
    echo(&lab, ONE, "one;");
    echo(&lab, TWO, "two;");
    lab.run(async {
        let mut first = lab.client().await;
        let name = first.until(";").await;
        // Longer than the entry's time, while the connection is open and moves.
        for _ in 0..30 {
            lab.sleep_ms(4_000).await;
            first.send("x").await;
        }
        for _ in 0..3 {
            let mut again = lab.client().await;
            assert_eq!(again.until(";").await, name, "bound while a connection is open");
            again.end();
            again.all().await;
        }
        first.end();
        first.all().await;
        lab.sleep_ms(50_000).await;
        let mut last = lab.client().await;
        assert_eq!(last.until(";").await, name, "and for its time after the last one has ended");
    });
    assert!(lab.of_pool(0).persistence.hits.get() >= 4);
}

//= test L4-CUT-01
#[test]
fn the_grace_of_a_failed_server_cuts_its_connections_and_spares_the_others() {
    let pool = "graceful_hm_down_disable_timeout_s = 3";
    let lab = Lab::new(&document(pool, &[ONE, TWO], ""));
    echo(&lab, ONE, "one;");
    echo(&lab, TWO, "two;");
    lab.follow_servers();
    lab.run(async {
        let mut a = lab.client().await;
        let mut b = lab.client().await;
        let (name_a, _) = (a.until(";").await, b.until(";").await);
        let (down, mut cut, mut spared) = if name_a == "one;" { (0, a, b) } else { (1, b, a) };
        lab.set_health(down, HealthState::Down);
        lab.sleep_ms(2_500).await;
        cut.send("still").await;
        spared.send("here").await;
        lab.sleep_ms(1_000).await;
        assert_eq!(cut.all_and_reset().await, (String::new(), true));
        assert!(!spared.has_ended());
        spared.end();
        assert_eq!(spared.all().await, "[here]");
    });
    assert_eq!((ended(&lab, End::Cut), ended(&lab, End::Whole)), (1, 1));
}

//= test L4-TCP-02
#[test]
fn a_connection_waits_in_the_queue_for_a_server_at_its_limit() {
    let pool = "max_concurrent_connections_per_server = 1\nrequest_queue = { enabled = true, depth = 1, timeout_ms = 2000 }";
    let mut lab = Lab::new(&document(pool, &[ONE], ""));
    echo(&lab, ONE, "one;");
    lab.run(async {
        let mut first = lab.client().await;
        first.until(";").await;
        let mut second = lab.client().await;
        // It has said all that it will, and waits: its end must not cost it its place.
        second.send("late").await;
        second.end();
        lab.sleep_ms(100).await;
        let mut third = lab.client().await;
        assert_eq!(third.all_and_reset().await, (String::new(), true), "the queue has one place");
        first.end();
        first.all().await;
        assert_eq!(second.all_and_reset().await, ("one;[late]".to_owned(), false));
        let mut fourth = lab.client().await;
        fourth.until(";").await;
        let mut fifth = lab.client().await;
        let begin = lab.now_us();
        assert!(fifth.all_and_reset().await.1, "its time in the queue is over");
        assert!((2_000_000..2_100_000).contains(&(lab.now_us() - begin)));
    });
    assert_eq!((ended(&lab, End::Queue), lab.metrics.timeouts.queue.get()), (2, 1));
    let late = lab.log().into_iter().find(|line| line["rx_bytes"] == 4).expect("the second one's record");
    assert!(late["queue_time"].as_f64().is_some_and(|ms| ms >= 90.0), "{late}");
}

//= test L4-MEMORY-01
#[test]
fn a_side_that_does_not_read_stops_the_other_and_costs_no_buffer() {
    let lab = Lab::new(&document("", &[ONE], ""));
    let sent = std::rc::Rc::new(std::cell::Cell::new(0));
    let seen = sent.clone();
    lab.server(ONE, move |rt, mut peer| {
        let seen = seen.clone();
        async move {
            seen.set(peer.fill(&rt).await);
            peer.end();
        }
    });
    lab.run(async {
        let mut client = lab.client().await;
        lab.sleep_ms(100).await;
        let held = lab.worker.buffers.held_bytes();
        assert!(sent.get() > 0, "the server filled what there is");
        assert!(held <= 4 * 1024, "{held} bytes are held for a client that does not read");
        let said = client.all().await;
        assert_eq!(said.len(), sent.get(), "nothing is lost");
    });
    assert_eq!(lab.worker.buffers.held_bytes(), 0);
}

//= test L4-BULK-01
#[test]
fn a_stream_that_fills_large_buffers_goes_through_a_larger_one_and_a_conversation_does_not() {
    let piece = |n: usize| format!("{n:09};").repeat(100);
    for (pieces, together) in [(2_000, true), (20, false)] {
        let lab = Lab::new(&document("", &[ONE], ""));
        lab.memory.pipe_capacity(1 << 20);
        echo(&lab, ONE, "one;");
        let sent: String = (0..pieces).map(piece).collect();
        let came = lab.run(async {
            let mut client = lab.client().await;
            client.until(";").await;
            if together {
                client.send(&sent).await;
            } else {
                for n in 0..pieces {
                    client.send(piece(n)).await;
                    lab.sleep_ms(1).await;
                }
            }
            client.end();
            client.all().await
        });
        assert!(came == format!("[{sent}]"), "{} bytes came back of {}", came.len(), sent.len());
        assert_eq!(lab.worker.buffers.has_bulk(), together, "{pieces} pieces of 1,000 bytes");
        assert_eq!(lab.worker.buffers.held_bytes(), 0);
    }
}
