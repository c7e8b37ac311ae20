//! What the Controller is told of requests: chosen by service, kept until it has answered, and never more than is bounded.

use std::sync::Arc;
use std::time::{Duration, Instant};

use forebay_host_uring::config::Tree;
use forebay_host_uring::limits::{TOLD_BATCH_MS, TOLD_KEPT_BYTES_MAX, TOLD_REFUSED_MS};
use forebay_host_uring::log::{Line, Sink, Telling, ring};
use forebay_wire::limits::LOGS_AHEAD_MAX;
use forebay_wire::lines;

/// A record whose line is known.
struct Text(String);

impl Line for Text {
    fn write_json(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.0.as_bytes());
    }
}

/// Some 700 bytes that hardly compress: what is kept is bounded by packed bytes.
fn line(nth: u64, is_significant: bool) -> Text {
    let mut seed = nth + 1;
    let noise: String = std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'0' + u8::try_from((seed >> 33) % 74).expect("below 74"))
    })
    .filter(char::is_ascii_alphanumeric)
    .take(600)
    .collect();
    Text(format!(
        "{{\"n\":{nth},\"virtualservice\":\"v\",\"x\":\"{noise}\",\"significant\":{is_significant}}}\n"
    ))
}

fn tree(client_logs: &str) -> Arc<Tree> {
    let text = format!(
        "version = 1\n[[virtual_service]]\nname = \"v\"\nlisten = [\"127.0.0.1:1\"]\npool = \"p\"\n\
         client_logs = {{ {client_logs} }}\n[[pool]]\nname = \"p\"\nserver = [{{ address = \"127.0.0.1:2\" }}]\n"
    );
    Arc::new(Tree::build(forebay_snapshot::check(&text).unwrap_or_else(|problems| panic!("{problems:?}"))))
}

fn told() -> (Telling, Sink) {
    let (mut sink, _) = ring(0, false);
    let telling = Telling::default();
    telling.add(sink.also_tell(1 << 20));
    (telling, sink)
}

/// Whether a line gets through at this moment.
fn passes(telling: &Telling, sink: &mut Sink, tree: &Arc<Tree>, text: &str, at: Instant) -> bool {
    let before = telling.counts().throttled;
    sink.push(&Text(text.to_owned()), true);
    telling.gather(tree, at);
    telling.counts().throttled == before
}

const SIGNIFICANT: &str = "{\"a\":1,\"virtualservice\":\"v\",\"significant\":true}\n";
const OTHER: &str =
    "{\"a\":1,\"virtualservice\":\"v\",\"path\":\",\\\"significant\\\":true\",\"significant\":false}\n";

//= test OBS-CLIENT-02
#[test]
fn significant_ones_pass_and_others_where_and_as_long_as_they_are_asked_for() {
    let ((telling, mut sink), now) = (told(), Instant::now());
    let at = |seconds: u64| now + Duration::from_secs(seconds);
    let mut takes = |tree: &Arc<Tree>, text: &str, at: Instant| passes(&telling, &mut sink, tree, text, at);
    let plain = tree("");
    assert!(takes(&plain, SIGNIFICANT, now) && !takes(&plain, OTHER, now));
    let gone = SIGNIFICANT.replace("\"v\"", "\"w\"");
    assert!(!takes(&plain, &gone, now), "there is no such service");
    let minute = tree("all = true, minutes = 1");
    assert!(takes(&minute, OTHER, at(0)) && takes(&minute, OTHER, at(59)) && !takes(&minute, OTHER, at(60)));
    // The same again: the time goes on. Another: it begins anew.
    assert!(!takes(&tree("all = true, minutes = 1"), OTHER, at(70)));
    let ever = tree("all = true, minutes = 0");
    assert!(takes(&ever, OTHER, at(70)) && takes(&ever, OTHER, at(1_000_000)));
}

//= test OBS-CLIENT-02
#[test]
fn so_many_pass_in_a_second_and_as_many_at_once() {
    let ((telling, mut sink), now) = (told(), Instant::now());
    let tree = tree("significant_per_s = 5, all = true, others_per_s = 0");
    let mut passed = |from: u64, to: u64, text: &str| {
        let at = |ms: u64| now + Duration::from_millis(ms);
        (from..to).filter(|ms| passes(&telling, &mut sink, &tree, text, at(*ms))).count()
    };
    assert_eq!(passed(0, 1, SIGNIFICANT) + passed(0, 100, SIGNIFICANT), 5);
    let some = passed(100, 10_100, SIGNIFICANT);
    assert!((49..=51).contains(&some), "{some} in ten seconds");
    assert_eq!(passed(0, 1_000, OTHER), 1_000, "no bound");
}

//= test OBS-CLIENT-01
//= test OBS-CLIENT-03
#[test]
fn what_is_not_answered_is_sent_again_and_the_oldest_goes_when_there_is_no_room() {
    let ((telling, mut sink), now) = (told(), Instant::now());
    let tree = tree("all = true, significant_per_s = 0, others_per_s = 0");
    let later = now + Duration::from_millis(TOLD_BATCH_MS);
    let mut put = |from: u64, count: u64| {
        for nth in from..from + count {
            sink.push(&line(nth, true), true);
            telling.gather(&tree, now);
        }
        telling.gather(&tree, later);
    };
    put(0, 10);
    let first = telling.due(now).expect("a batch");
    let wanted: String = (0..10).map(|nth| line(nth, true).0).collect();
    assert_eq!(lines::unpack(&first).expect("whole"), wanted.into_bytes());
    assert!(telling.due(now).is_err(), "it is on its way");
    telling.begin();
    assert_eq!(telling.due(now).expect("the same"), first);
    telling.answered(first.number, false, now);
    assert!(telling.due(now).is_err(), "the Controller wants to be left alone");
    let after = now + Duration::from_millis(TOLD_REFUSED_MS);
    assert_eq!(telling.due(after).expect("the same"), first);
    telling.answered(first.number, true, now);
    assert_eq!((telling.counts().told, telling.due(after).is_err()), (10, true));
    // Nobody answers: a few are on their way, so many are kept, and what is lost is counted.
    put(10, 40_000);
    let lost = telling.counts().lost;
    let (mut numbers, mut kept, mut bytes) = (Vec::new(), 0, 0);
    let ahead = std::iter::from_fn(|| telling.due(after).ok()).count();
    assert_eq!(ahead, LOGS_AHEAD_MAX, "no more are ahead of the answers");
    telling.begin();
    while let Ok(logs) = telling.due(after) {
        numbers.push(logs.number);
        bytes += logs.lines.len();
        kept += lines::unpack(&logs).expect("whole").split_inclusive(|byte| *byte == b'\n').count() as u64;
        telling.answered(logs.number, true, after);
    }
    assert!(numbers.is_sorted() && numbers[0] > 2, "the oldest have gone");
    assert!(lost > 0 && bytes <= TOLD_KEPT_BYTES_MAX, "{lost} lost, {bytes} bytes kept");
    assert_eq!((kept + lost, telling.counts().dropped), (40_000, 0));
}

//= test OBS-CLIENT-01
#[test]
fn workers_whose_ring_is_full_drop_and_count() {
    let ((telling, mut sink), tree) = (told(), tree("significant_per_s = 0"));
    for nth in 0..3_000 {
        sink.push(&line(nth, true), true);
        sink.push(&line(nth, false), false);
    }
    let dropped = telling.counts().dropped;
    assert!(dropped > 0 && dropped < 3_000, "{dropped}");
    drop(sink);
    let now = Instant::now();
    for _ in 0..4 {
        telling.gather(&tree, now);
    }
    telling.gather(&tree, now + Duration::from_millis(TOLD_BATCH_MS));
    let mut told = 0;
    while let Ok(logs) = telling.due(now) {
        let lines = lines::unpack(&logs).expect("whole");
        assert!(!lines.windows(5).any(|part| part == b"false"), "what nobody wants is not told");
        told += lines.iter().filter(|byte| **byte == b'\n').count() as u64;
        telling.answered(logs.number, true, now);
    }
    assert_eq!((told + dropped, telling.counts().dropped), (3_000, dropped));
}
