//! The store as the Controller uses it, with a clock that the test moves.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;

use forebay_metrics::{
    Ask, Counts, Holders, Keep, Key, Kind, Offer, Range, STEPS, Store, Tally, gathered, gathered_totals, held,
};

/// A day that begins when this does, and so do its hours.
const DAY: u64 = 20_000 * 86_400_000;

struct Site {
    folder: PathBuf,
    clock: Arc<AtomicU64>,
    bytes_max: u64,
    things_max: usize,
    store: Option<Store>,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.store = None;
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Site {
    fn new(name: &str, bytes_max: u64) -> Self {
        let folder = std::env::temp_dir().join(format!("forebay-metrics-{}-{name}", std::process::id()));
        let clock = Arc::new(AtomicU64::new(DAY));
        let mut site = Site { folder, clock, bytes_max, things_max: 100_000, store: None };
        site.again();
        site
    }

    /// Opens it anew, as a new process does.
    fn again(&mut self) {
        self.store = None;
        let clock = Arc::clone(&self.clock);
        let clock = Arc::new(move || clock.load(Ordering::SeqCst));
        self.store = Some(
            Store::open(&self.folder, Keep { bytes_max: self.bytes_max, things_max: self.things_max, clock })
                .expect("room"),
        );
    }

    fn store(&self) -> &Store {
        self.store.as_ref().expect("open")
    }

    fn at(&self, now: u64) {
        self.clock.store(now, Ordering::SeqCst);
    }

    /// Offers a sample whose stretch ended now, and says whether it was acknowledged.
    fn tell(&self, engine: &str, number: u64, oldest: u64, tallies: Vec<(Key, Tally)>) -> bool {
        let (say, heard) = mpsc::channel();
        let done = Box::new(move |number| say.send(number).expect("somebody listens"));
        let engine = engine.to_owned();
        let offer = Offer { engine, process: 7, number, oldest, age: 0, length: 5_000, tallies, done };
        self.store().offer(offer).expect("room");
        self.store().flush();
        heard.try_iter().eq([number])
    }

    /// The first sums of a service's slots.
    fn sums(&self, engine: Option<&str>, range: Range) -> Vec<Option<u64>> {
        let ask = Ask { keys: vec![service()], engine: engine.map(str::to_owned), range };
        let read = self.store().read(&ask).expect("readable");
        read.into_iter().map(|tally| tally.map(|tally| tally.sum(0))).collect()
    }

    fn counts(&self) -> Counts {
        self.store().counts()
    }
}

fn service() -> Key {
    Key::new(Kind::Service, "virtualservice-1")
}

fn counted(engine: &str, count: u64) -> Vec<(Key, Tally)> {
    let tally = |count| Tally { sums: vec![count], tops: vec![count], durations: vec![0, count] };
    let mut all = vec![(Key::new(Kind::Engine, engine), tally(1))];
    if count > 0 {
        all.push((service(), tally(count)));
    }
    all
}

//= test MET-ONCE-01
#[test]
fn a_sample_that_comes_again_counts_once_also_over_a_new_start() {
    let mut site = Site::new("once", 64 << 20);
    let slots = Range::of(0, DAY, DAY + 60_000, 100);
    let total = |site: &Site| site.sums(None, slots).into_iter().flatten().sum::<u64>();
    site.at(DAY + 5_000);
    assert!(site.tell("a", 1, 1, counted("a", 3)));
    assert!(site.tell("a", 1, 1, counted("a", 3)), "it is acknowledged again");
    assert_eq!(total(&site), 3);
    site.again();
    assert!(site.tell("a", 1, 1, counted("a", 3)));
    assert_eq!((total(&site), site.counts().known), (3, 1));
    // The second one is missing: the third one would have it forgotten.
    assert!(!site.tell("a", 3, 2, counted("a", 100)), "it is put off");
    assert_eq!(total(&site), 3);
    assert!(site.tell("a", 2, 2, counted("a", 10)));
    assert!(site.tell("a", 3, 2, counted("a", 100)));
    assert_eq!(total(&site), 113);
    // An engine that knows of more than the file: what lies between is gone with another file.
    assert!(site.tell("a", 9, 9, counted("a", 1_000)));
    assert!(site.tell("b", 5, 5, counted("b", 10_000)), "the first one of an engine that is not known");
    assert_eq!(total(&site), 11_113);
}

//= test MET-ROLL-01
//= test MET-KEEP-01
#[test]
fn slots_of_every_length_have_the_same_sum_and_the_oldest_go() {
    let mut site = Site::new("roll", 64 << 20);
    let (mut number, mut sum) = (0, 0);
    let mut tell = |site: &Site, at: u64, count: u64| {
        site.at(at);
        number += 1;
        assert!(site.tell("a", number, 1, counted("a", count)));
        sum += count;
        sum
    };
    // Four hours, a sample each minute, and a new start in the middle.
    for minute in 1..=240 {
        tell(&site, DAY + minute * 60_000, minute);
        if minute == 100 {
            site.again();
        }
    }
    let end = DAY + 240 * 60_000;
    let total = |site: &Site, level: usize, end: u64| {
        let slots = site.sums(None, Range::of(level, DAY, end, 10_000));
        slots.into_iter().flatten().sum::<u64>()
    };
    // What is not rolled up yet is added up from what is shorter.
    for level in 1..STEPS.len() {
        assert_eq!(total(&site, level, end), 28_920, "level {level}");
    }
    let first = (180..=240).sum::<u64>();
    assert!(total(&site, 0, end) <= first, "those of 5 s are kept for an hour");
    // One that was on its way for long: its hour is rolled up.
    site.at(end);
    let late = Offer {
        engine: "a".to_owned(),
        process: 7,
        number: 241,
        oldest: 1,
        age: 2 * 3_600_000,
        length: 5_000,
        tallies: counted("a", 1_000_000),
        done: Box::new(|_| {}),
    };
    site.store().offer(late).expect("room");
    site.store().flush();
    let hours = site.sums(None, Range::of(2, DAY, end, 100));
    assert_eq!(hours[1], Some((61..=120).sum::<u64>() + 1_000_000));
    for level in 1..STEPS.len() {
        assert_eq!(total(&site, level, end), 1_028_920, "level {level}");
    }
    // Days later all of it is in the day's slot, and the shorter ones are gone.
    tell(&site, DAY + 5 * 86_400_000, 0);
    assert_eq!(total(&site, 1, end), 0);
    assert_eq!(total(&site, 2, end), 1_028_920);
    assert_eq!(site.sums(None, Range::of(3, DAY, DAY + 86_400_000, 1)), [Some(1_028_920)]);
    let ask = Ask { keys: vec![service()], engine: None, range: Range::of(3, DAY, DAY + 86_400_000, 1) };
    let day = site.store().read(&ask).expect("readable").remove(0).expect("told");
    assert_eq!((day.top(0), day.durations[1]), (1_000_000, 1_028_920), "the most, and all durations");
}

//= test MET-GAP-01
#[test]
fn nothing_happened_and_nobody_told_are_not_the_same() {
    let site = Site::new("gap", 64 << 20);
    let at = |slot: u64| DAY + slot * 5_000;
    site.at(at(1));
    assert!(site.tell("a", 1, 1, counted("a", 4)));
    site.at(at(2));
    assert!(site.tell("a", 2, 2, counted("a", 0)), "it is there, and the service did nothing");
    site.at(at(4));
    assert!(site.tell("a", 3, 3, counted("a", 5)));
    assert!(site.tell("b", 1, 1, counted("b", 20)));
    let slots = Range::of(0, DAY - 5_000, at(4), 100);
    assert_eq!(site.sums(None, slots), [None, Some(4), Some(0), None, Some(25)]);
    assert_eq!(site.sums(Some("a"), slots), [None, Some(4), Some(0), None, Some(5)]);
    assert_eq!(site.sums(Some("b"), slots), [None, None, None, None, Some(20)]);
    assert_eq!(site.sums(Some("c"), slots), [None; 5]);
    let none = Ask { keys: vec![Key::new(Kind::Pool, "pool-1")], engine: None, range: slots };
    assert!(site.store().read(&none).expect("readable").iter().all(Option::is_none));
}

//= test MET-KEEP-02
#[test]
fn a_file_that_is_full_lets_its_oldest_slots_go_and_takes_new_ones() {
    let site = Site::new("full", 2 << 20);
    let all = |count: u64| -> Vec<(Key, Tally)> {
        let tally = Tally { sums: vec![count; 20], tops: vec![count], durations: vec![count; 10] };
        let one = |n: u64| (Key::new(Kind::Service, &format!("virtualservice-x{n}")), tally.clone());
        (0..500).map(one).chain(counted("a", 1)).collect()
    };
    for number in 1..=200 {
        site.at(DAY + number * 5_000);
        assert!(site.tell("a", number, 1, all(1 << 40)), "sample {number}: {:?}", site.counts());
    }
    assert!(site.counts().shrunk > 0, "{:?}", site.counts());
    let slots = site.sums(None, Range::of(0, DAY, DAY + 200 * 5_000, 1_000));
    assert_eq!(slots.last(), Some(&Some(1)), "the newest is there");
    assert_eq!(slots.first(), Some(&None), "the oldest is gone");
    let size = std::fs::metadata(site.folder.join("metrics.db")).expect("a file").len();
    assert!(size <= 2 << 20, "{size} bytes");
}

//= test MET-ROOM-01
#[test]
fn where_names_have_no_room_left_those_go_that_nobody_tells_of_any_more() {
    let mut site = Site::new("room", 64 << 20);
    site.things_max = 64;
    site.again();
    let day = |day: u64| DAY + day * 86_400_000;
    let one = |key: Key| (key, Tally { sums: vec![1], tops: vec![], durations: vec![] });
    let servers = |from: u64, to: u64| -> Vec<(Key, Tally)> {
        (from..to).map(|n| one(Key::server("pool-1", &format!("10.0.0.{n}:80")))).collect()
    };
    let known = |site: &Site, of: Kind| site.store().known(of).expect("readable").len();
    // More servers than there is room for, of which seven eighths are theirs.
    site.at(day(0) + 5_000);
    assert!(site.tell("a", 1, 1, servers(0, 100)));
    assert_eq!((known(&site, Kind::Server), site.counts().homeless), (56, 44));
    // An engine and a service find room still.
    assert!(site.tell("b", 1, 1, counted("b", 3)));
    let slots = Range::of(0, day(0), day(0) + 5_000, 10);
    assert_eq!(site.sums(None, slots), [Some(3)]);
    // Days later the servers are others, and the counts of those are kept.
    site.at(day(4));
    assert!(site.tell("a", 2, 1, servers(200, 208)));
    assert_eq!((known(&site, Kind::Server), site.counts().homeless), (56, 44), "as many went as came");
    let ask = |n: u64, from: u64| Ask {
        keys: vec![Key::server("pool-1", &format!("10.0.0.{n}:80"))],
        engine: None,
        range: Range::of(0, from, site.clock.load(Ordering::SeqCst), 1),
    };
    let read = site.store().read(&ask(207, day(4) - 5_000)).expect("readable");
    assert_eq!(read[0].as_ref().map(|tally| tally.sum(0)), Some(1));
    // The rest of the room is for engines; where there is none a sample is put off, and not taken for known.
    for n in 0..64 {
        let _ = site.tell(&format!("engine-{n}"), 1, 1, Vec::new());
    }
    let full = site.counts();
    assert!(!site.tell("one-more", 1, 1, Vec::new()), "{full:?}");
    assert!(site.counts().put_off > 0 && site.counts().homeless > full.homeless, "{:?}", site.counts());
    // It comes again, and there is room once the others have been silent for two days.
    site.at(day(8));
    assert!(site.tell("one-more", 1, 1, Vec::new()), "{:?}", site.counts());
    // Over a new start, no number is given twice.
    site.again();
    assert!(site.tell("one-more", 2, 1, counted("one-more", 7)));
    let now = Range::of(0, day(8) - 5_000, day(8), 1);
    assert_eq!(site.sums(Some("one-more"), now), [Some(7)]);
    // What nobody tells of for longer than there are slots goes without need.
    site.at(day(400));
    site.again();
    site.store().flush();
    assert!(known(&site, Kind::Service) + known(&site, Kind::Engine) + known(&site, Kind::Server) <= 1);
}

//= test MET-DAMAGE-01
#[test]
fn a_damaged_file_is_set_aside_and_series_begin_anew() {
    let mut site = Site::new("damage", 64 << 20);
    site.at(DAY + 5_000);
    assert!(site.tell("a", 1, 1, counted("a", 3)));
    site.store = None;
    let file = site.folder.join("metrics.db");
    std::fs::write(&file, vec![0x5a; 100_000]).expect("room");
    let _ = std::fs::remove_file(site.folder.join("metrics.db-wal"));
    site.again();
    assert_eq!(std::fs::read(site.folder.join("metrics.damaged")).expect("kept").len(), 100_000);
    assert!(site.tell("a", 2, 2, counted("a", 5)));
    assert_eq!(site.sums(None, Range::of(0, DAY, DAY + 5_000, 10)), [Some(5)]);
}

//= test MET-ROLL-01
#[test]
fn what_was_counted_in_a_time_is_the_same_for_few_things_and_for_many() {
    let site = Site::new("totals", 64 << 20);
    let key = |n: u64| Key::new(Kind::Service, &format!("virtualservice-{n}"));
    let (mut sums, mut number) = (vec![0; 300], 0);
    // A quarter of an hour, of which the last minutes are not rolled up; two engines.
    for slot in 1..=170_u64 {
        number += 1;
        site.at(DAY + slot * 5_000);
        for (engine, times) in [("a", 1), ("b", 100)] {
            let of = |n: u64| {
                let count = times * (slot + n);
                (key(n), Tally { sums: vec![count], tops: vec![count], durations: vec![] })
            };
            // Each slot has other things.
            let tallies: Vec<(Key, Tally)> = (0..300).filter(|n| (n + slot) % 100 == 0).map(of).collect();
            for (key, tally) in &tallies {
                let n: usize = key.uuid.rsplit('-').next().and_then(|n| n.parse().ok()).expect("a number");
                sums[n] += tally.sum(0);
            }
            assert!(site.tell(engine, number, 1, tallies));
        }
    }
    let end = DAY + 170 * 5_000;
    let range = Range::of(0, DAY, end, 170);
    let all: Vec<Key> = (0..300).map(key).chain([Key::new(Kind::Pool, "pool-none")]).collect();
    let totals = |keys: &[Key]| site.store().totals(keys, range).expect("readable");
    let many = totals(&all);
    let few: Vec<Option<Tally>> = all.chunks(50).flat_map(totals).collect();
    assert_eq!(many, few);
    assert_eq!(many.last(), Some(&None), "nothing was told of it");
    let many: Vec<u64> = many.iter().flatten().map(|tally| tally.sum(0)).collect();
    assert_eq!(many, sums);
    let last = Range::of(0, DAY, end, 12);
    let one = Ask { keys: vec![key(40)], engine: None, range: last };
    let slots = site.store().read(&one).expect("readable");
    let sum: u64 = slots.iter().flatten().map(|tally| tally.sum(0)).sum();
    assert_eq!(
        site.store().totals(&[key(40)], last).expect("readable")[0].as_ref().map(|t| t.sum(0)),
        Some(sum)
    );
}

/// What engine `e` counted in a slot, of two services.
fn of_two(seed: u64) -> Vec<(Key, Tally)> {
    let tally = |n: u64| Tally { sums: vec![n, 1], tops: vec![n % 7], durations: vec![n % 3, 1] };
    let mut all = vec![(Key::new(Kind::Engine, "e"), tally(1))];
    // At times nothing happens.
    if !seed.is_multiple_of(4) {
        all.push((service(), tally(seed)));
    }
    if seed.is_multiple_of(3) {
        all.push((Key::new(Kind::Service, "virtualservice-2"), tally(seed + 1)));
    }
    all
}

//= test MET-SEVERAL-01
#[test]
fn whatever_the_division_of_samples_series_are_those_of_one_store_with_all_of_them() {
    let sites = ["whole", "one", "two", "three"].map(|name| Site::new(&format!("several-{name}"), 64 << 20));
    let mut numbers = [[0_u64; 3]; 4];
    let mut seed = 3_u64;
    for step in 1..=130_u64 {
        sites.iter().for_each(|site| site.at(DAY + step * 5_000));
        for (nth, engine) in ["a", "b", "c"].into_iter().enumerate() {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let random = seed >> 33;
            if random.is_multiple_of(5) {
                // Nobody hears of it.
                continue;
            }
            // Each is told to one of three, and to the one that has all of it.
            let mut tallies = of_two(random % 1_000);
            tallies[0].0 = Key::new(Kind::Engine, engine);
            for of in [0, 1 + usize::try_from(random / 7 % 3).expect("small")] {
                numbers[of][nth] += 1;
                let number = numbers[of][nth];
                assert!(sites[of].tell(engine, number, number, tallies.clone()));
            }
        }
    }
    sites.iter().for_each(|site| site.store().flush());
    let both = vec![service(), Key::new(Kind::Service, "virtualservice-2")];
    let mut asks = Vec::new();
    for (level, slots) in [(0, 220), (1, 5), (2, 1)] {
        for keys in [both.clone(), both[..1].to_vec(), vec![Key::new(Kind::Service, "nobody's")]] {
            for engine in [None, Some("b".to_owned()), Some("nobody".to_owned())] {
                let range = Range::of(level, DAY, DAY + slots * STEPS[level].0, 1_000);
                asks.push(Ask { keys: keys.clone(), engine, range });
            }
        }
    }
    let mut holders = vec![Holders::new(); asks.len()];
    for site in &sites[1..] {
        for (all, more) in holders.iter_mut().zip(site.store().holders(&asks).expect("readable")) {
            *all = held([std::mem::take(all), more]);
        }
    }
    let asked: Vec<_> = asks.iter().cloned().zip(holders).collect();
    let parts: Vec<_> = sites[1..].iter().map(|site| site.store().parts(&asked).expect("readable")).collect();
    for (nth, ask) in asks.iter().enumerate() {
        let of: Vec<_> = parts.iter().map(|parts| parts[nth].clone()).collect();
        let wanted = sites[0].store().read(ask).expect("readable");
        assert_eq!(gathered(ask.range, &of), wanted, "{ask:?}");
    }
    let range = Range::of(0, DAY, DAY + 1_000_000, 1_000);
    let totals = |site: &Site| site.store().totals(&both, range).expect("readable");
    let sums = |all: Vec<Option<Tally>>| all.into_iter().map(|all| all.map(|all| (all.sums, all.durations)));
    let of: Vec<_> = sites[1..].iter().map(totals).collect();
    assert!(sums(gathered_totals(of)).eq(sums(totals(&sites[0]))));
}
