//! What is held back, and what is not.

use super::*;

fn sections(pairs: &[(&str, &str)]) -> Sections {
    pairs.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect()
}

fn service(name: &str, rest: &str) -> (String, String) {
    (format!("virtual_service/{name}"), format!("[[virtual_service]]\nname = \"{name}\"\n{rest}\n"))
}

fn part(kind: &str, name: &str, rest: &str) -> (String, String) {
    (format!("{kind}/{name}"), format!("[[{kind}]]\nname = \"{name}\"\n{rest}\n"))
}

fn certificate(name: &str, content: &str) -> [(String, String); 2] {
    let file = format!("{name}/key");
    [
        part("certificate", name, &format!("key_file = \"inline:{file}\"")),
        part("file", &file, &format!("content = \"{content}\"")),
    ]
}

/// Two services with a pool for both, each with its certificate.
fn two(first: &str, second: &str) -> Sections {
    let mut all = Sections::from([
        service("a", "certificates = [\"ca\"]\npool = \"p\""),
        service("b", "certificates = [\"cb\"]\npool = \"p\""),
        part("pool", "p", "x = 1"),
    ]);
    all.insert("/version".to_owned(), "version = 1\n".to_owned());
    all.extend(certificate("ca", first));
    all.extend(certificate("cb", second));
    all
}

fn told(holding: &Holding<'_>) -> Vec<(String, bool)> {
    holding.untaken().into_iter().map(|one| (one.service, one.is_left_out)).collect()
}

/// As the engine does: what it says is of what it tried.
fn accuse(holding: &mut Holding<'_>, faults: &[Fault]) -> bool {
    let tried = holding.sections();
    holding.accuse(faults, &tried)
}

fn misfit(key: &str) -> Fault {
    Fault::of("certificate", key, "it is not the key")
}

//= test CHAN-PART-01
//= test CHAN-PART-06
#[test]
fn who_writes_anothers_name_has_nothing_to_do_with_its_faults() {
    let mut came = two("1", "1");
    came.extend([service("a", "certificates = [\"ca\"]\npool = \"p\"\nheader = \"b\"")]);
    let mut holding = Holding::new(&came, &came).at_start();
    let at = At::Path("virtual_service[1].listen[0]".to_owned());
    let said = "the engine's metrics are there (see engine.metrics_listen)".to_owned();
    assert!(accuse(&mut holding, &[Fault { at, ..Fault::from(said) }]));
    assert_eq!(told(&holding), [("b".to_owned(), true)]);
    // The engine's own part is another one elsewhere.
    assert!(holding.untaken()[0].may_mend);
}

//= test CHAN-PART-01
#[test]
fn what_is_at_fault_stays_as_it_was_and_all_else_is_as_it_came() {
    let (had, mut came) = (two("1", "1"), two("bad", "2"));
    came.extend([part("pool", "p", "x = 2")]);
    let mut holding = Holding::new(&came, &had);
    assert_eq!(holding.sections(), came);
    assert!(accuse(&mut holding, &[misfit("ca")]));
    let taken = holding.sections();
    assert_eq!(taken["file/ca/key"], had["file/ca/key"]);
    for key in ["file/cb/key", "pool/p", "virtual_service/b", "/version"] {
        assert_eq!(taken[key], came[key], "{key}");
    }
    assert_eq!(told(&holding), [("a".to_owned(), false)]);
    assert_eq!(holding.untaken()[0].why, ["it is not the key"]);
    // At a start the one that was there may be good no more, either.
    let mut holding = holding.at_start();
    assert!(accuse(&mut holding, &[misfit("ca")]));
    let taken = holding.sections();
    let keys: Vec<&str> = taken.keys().map(String::as_str).collect();
    assert_eq!(keys, ["/version", "certificate/cb", "file/cb/key", "pool/p", "virtual_service/b"]);
    assert_eq!(told(&holding), [("a".to_owned(), true)]);
    assert!(!accuse(&mut holding, &[misfit("ca")]), "there is nothing left to try");
}

//= test CHAN-PART-01
#[test]
fn what_is_new_and_at_fault_is_left_out_with_what_only_it_needs() {
    let had = sections(&[("/version", "version = 1\n")]);
    let mut came = two("bad", "2");
    came.extend([
        service("a", "certificates = [\"ca\"]\npool = \"own\""),
        part("pool", "own", "health_monitors = [\"m\"]"),
        part("health_monitor", "m", ""),
    ]);
    let mut holding = Holding::new(&came, &had);
    assert!(accuse(
        &mut holding,
        &[Fault::of("virtual_service", "a", "the address is not here").that_may_mend()]
    ));
    let taken = holding.sections();
    assert!(
        ["virtual_service/a", "pool/own", "health_monitor/m", "file/ca/key"]
            .iter()
            .all(|key| !taken.contains_key(*key))
    );
    assert!(taken.contains_key("virtual_service/b") && taken.contains_key("pool/p"));
    let untaken = holding.untaken();
    assert!(untaken[0].may_mend && untaken[0].is_left_out && untaken.len() == 1, "{untaken:?}");
    // A monitor that cannot be costs all that stand on it.
    let mut holding = Holding::new(&came, &had);
    assert!(accuse(&mut holding, &[Fault::of("health_monitor", "m", "no such program")]));
    assert_eq!(told(&holding), [("a".to_owned(), true)]);
    let concerned = holding.concerned();
    assert!(concerned.contains_key("pool/own") && !concerned.contains_key("virtual_service/b"));
    assert!(holding.is_as(&concerned) && !Holding::new(&had, &had).is_as(&concerned));
    // Keys of tickets are for those with TLS, of whom none may be left.
    came.extend([part("ticket_key", "00-t", "")]);
    came.remove("virtual_service/b");
    assert!(Holding::new(&came, &had).sections().contains_key("ticket_key/00-t"));
    let mut holding = Holding::new(&came, &had);
    let at = At::Path("ticket_key[0]".to_owned());
    let idle = Fault { at, ..Fault::from("no service's clients speak TLS".to_owned()) };
    assert!(!accuse(&mut holding, std::slice::from_ref(&idle)), "what came is refused whole for that");
    assert!(accuse(&mut holding, &[misfit("ca")]));
    assert!(accuse(&mut holding, &[idle]) && !holding.sections().contains_key("ticket_key/00-t"));
}

//= test CHAN-PART-02
#[test]
fn a_service_shows_its_other_certificates_where_one_cannot_be_used() {
    let had = sections(&[("/version", "version = 1\n")]);
    let mut came = two("1", "bad");
    came.extend([service("a", "certificates = [\"ca\", \"cb\"]\npool = \"p\"")]);
    came.remove("virtual_service/b");
    let mut holding = Holding::new(&came, &had);
    assert!(accuse(&mut holding, &[misfit("cb")]));
    let taken = holding.sections();
    assert!(taken["virtual_service/a"].contains("certificates = [\"ca\"]"), "{}", taken["virtual_service/a"]);
    assert!(!taken.contains_key("certificate/cb") && !taken.contains_key("file/cb/key"));
    assert_eq!(told(&holding), [("a".to_owned(), false)]);
    assert!(accuse(&mut holding, &[misfit("ca")]));
    assert_eq!(told(&holding), [("a".to_owned(), true)], "none is left");
}

//= test CHAN-PART-03
#[test]
fn what_is_as_it_was_is_as_open_as_it_should_be_and_makes_room_for_others() {
    let had = two("1", "1");
    let mut came = two("bad", "1");
    came.extend([service("a", "enabled = false\ncertificates = [\"ca\"]\npool = \"p\"\nlisten = [\"new\"]")]);
    let mut holding = Holding::new(&came, &had);
    assert!(accuse(&mut holding, &[Fault::of("virtual_service", "a", "the address is not here")]));
    let text = &holding.sections()["virtual_service/a"];
    assert!(text.contains("enabled = false") && !text.contains("new"), "{text}");
    // What it has belongs to another one by now: two that do not fit together are no reason against the new one.
    let at = At::Path("virtual_service[1].listen[0]".to_owned());
    assert!(accuse(
        &mut holding,
        &[Fault { at, ..Fault::from("two have it (see virtual_service[0].listen[0])".to_owned()) }]
    ));
    assert_eq!(told(&holding), [("a".to_owned(), true)]);
    assert_eq!(holding.sections()["virtual_service/b"], came["virtual_service/b"]);
}

//= test CHAN-PART-01
#[test]
fn what_is_in_no_part_is_refused_with_all_of_it() {
    let (had, came) = (two("1", "1"), two("2", "2"));
    let mut holding = Holding::new(&came, &had);
    let of = |path: &str| Fault { at: At::Path(path.to_owned()), ..Fault::from(String::new()) };
    for fault in
        [Fault::from("the disk is full".to_owned()), of("engine.name"), of("pool[7]"), of("the document")]
    {
        assert!(!accuse(&mut holding, &[misfit("ca"), fault.clone()]), "{fault:?}");
    }
    assert!(told(&holding).is_empty());
    assert!(accuse(&mut holding, &[of("pool[0].x")]), "a place of a part is the part's");
}

//= test CHAN-PART-03
#[test]
fn what_does_not_fit_costs_nobody_who_has_nothing_to_do_with_it() {
    let had = two("1", "1");
    let mut came = two("bad", "1");
    came.extend([service("b", "certificates = [\"cb\"]\npool = \"p\"\nlisten = [\"new\"]")]);
    let mut holding = Holding::new(&came, &had);
    assert!(accuse(
        &mut holding,
        &[misfit("ca"), Fault::of("virtual_service", "b", "the address is not here")]
    ));
    assert_eq!(told(&holding), [("a".to_owned(), false), ("b".to_owned(), false)]);
    // Somebody's new service wants what the second one had.
    let accused = holding.accused().clone();
    came.extend([service("c", "pool = \"p\"\nlisten = [\"old\"]")]);
    let again = || Holding::new(&came, &had).with(accused.clone());
    let at = |place: &str| At::Path(place.to_owned());
    let said = "c.listen[0]: it is taken (see virtual_service[1].listen[0], line 7)".to_owned();
    let mut holding = again();
    assert!(accuse(&mut holding, &[Fault { at: at("virtual_service[2].listen[0]"), ..Fault::from(said) }]));
    assert_eq!(told(&holding), [("a".to_owned(), false), ("b".to_owned(), true)], "the first one stays");
    // What is wrong with the new one alone costs nobody else anything.
    let mut holding = again();
    let own = Fault { at: at("virtual_service[2].tls_profile"), ..Fault::from("its own".to_owned()) };
    assert!(accuse(&mut holding, &[own]));
    let all = [("a".to_owned(), false), ("b".to_owned(), false), ("c".to_owned(), true)];
    assert_eq!(told(&holding), all);
    // The engine's own address comes before a service's.
    let mut holding = again();
    let said = "it is taken (see virtual_service[2].listen[0])".to_owned();
    assert!(accuse(&mut holding, &[Fault { at: at("engine.metrics_listen"), ..Fault::from(said) }]));
    assert_eq!(told(&holding), all);
}

//= test CHAN-PART-07
#[test]
fn who_serves_and_is_what_it_was_goes_on_with_what_nobody_else_may_begin_with() {
    let had = two("1", "1");
    let mut came = had.clone();
    came.extend([
        service("c", "certificates = [\"ca\"]\npool = \"p\""),
        service("b", "certificates = [\"ca\"]\npool = \"p\""),
    ]);
    let mut holding = Holding::new(&came, &had);
    assert!(accuse(&mut holding, &[misfit("ca")]));
    assert_eq!(told(&holding), [("b".to_owned(), false), ("c".to_owned(), true)]);
    let taken = holding.sections();
    assert_eq!(
        (&taken["virtual_service/a"], &taken["certificate/ca"]),
        (&had["virtual_service/a"], &had["certificate/ca"])
    );
    assert!(taken["virtual_service/b"].contains("cb") && !taken.contains_key("virtual_service/c"));
    assert!(!accuse(&mut holding, &[misfit("ca")]), "all of it is refused before who serves is taken off");
    // It was changed for a bad one, and what it was is over by now: who has it goes on with that.
    came.extend(certificate("ca", "bad"));
    let mut holding = Holding::new(&came, &had);
    assert!(accuse(&mut holding, &[misfit("ca")]));
    assert_eq!(told(&holding).len(), 3);
    assert!(accuse(&mut holding, &[misfit("ca")]));
    let all = [("a".to_owned(), false), ("b".to_owned(), false), ("c".to_owned(), true)];
    assert_eq!(told(&holding), all);
    assert_eq!(holding.sections()["file/ca/key"], had["file/ca/key"]);
    // At a start nobody serves.
    let mut holding = Holding::new(&came, &came).at_start();
    assert!(accuse(&mut holding, &[misfit("ca")]));
    assert!(told(&holding).iter().all(|(_, is_left_out)| *is_left_out));
}

//= test CHAN-PART-02
#[test]
fn a_service_listens_on_its_other_addresses_and_is_otherwise_as_it_came() {
    let (had, mut came) = (two("1", "1"), two("1", "1"));
    came.extend([
        service("a", "certificates = [\"ca\"]\npool = \"p\"\nlisten = [\"192.0.2.1:80\", \"192.0.2.2:80\"]"),
        part("pool", "p", "x = 2"),
    ]);
    let mut holding = Holding::new(&came, &had);
    let taken = |address: &str| {
        let at = At::Listen("a".to_owned(), address.to_owned());
        Fault { at, ..Fault::from(format!("{address} is not here")) }.that_may_mend()
    };
    assert!(accuse(&mut holding, &[taken("192.0.2.2:80")]));
    let sections = holding.sections();
    assert!(sections["virtual_service/a"].contains("listen = [\"192.0.2.1:80\"]"), "{sections:?}");
    assert_eq!(sections["pool/p"], came["pool/p"]);
    let untaken = holding.untaken();
    assert!(!untaken[0].is_left_out && untaken[0].may_mend && untaken[0].why == ["192.0.2.2:80 is not here"]);
    assert!(holding.concerned().contains_key("virtual_service/a"));
    assert!(!accuse(&mut holding, &[taken("192.0.2.2:80")]) || !told(&holding).is_empty());
    assert!(accuse(&mut holding, &[taken("192.0.2.1:80")]), "none is left: it is as it was");
    assert!(!holding.sections()["virtual_service/a"].contains("192.0.2"));
}
