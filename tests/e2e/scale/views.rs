//! What the API shows of the tables, as the engines themselves tell it.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::site::Site;

fn rows(site: &Site, path: &str) -> Vec<Value> {
    let said = site.get(path);
    let rows = said["results"].as_array().cloned().unwrap_or_else(|| panic!("{path}: {said}"));
    assert!(rows.iter().all(|row| row["error"].is_null()), "{path}: {said}");
    rows
}

/// Both engines tell of the same tables: so many clients, and who is how far.
//= test VIEW-TABLES-01
//= test CHAN-ASK-01
pub fn are_told(site: &Site, engines: [usize; 2], clients: u32) {
    let uuids: BTreeSet<String> = engines.iter().map(|at| site.uuids[*at].clone()).collect();
    let told_by = |rows: &[Value]| -> BTreeSet<String> {
        rows.iter().filter_map(|row| row["se_uuid"].as_str().map(str::to_owned)).collect()
    };
    let service = format!("virtualservice/{}", site.service);
    let pool = format!("pool/{}", site.pool);
    let all = rows(site, &format!("{service}/keyvalsummary"));
    assert_eq!(told_by(&all), uuids);
    assert!(all.iter().all(|row| row["num_keyval_objs"] == clients), "{all:?}");
    for (path, versions, of) in [
        (format!("{service}/keyvalsummaryobjsync"), "keyType", "client_ip"),
        (format!("{pool}/objsync"), "pooluuid", site.pool.as_str()),
    ] {
        let all = rows(site, &path);
        assert_eq!(told_by(&all), uuids, "{path}");
        for row in &all {
            assert_eq!(row["hubVersions"][0][versions], of, "{row}");
            let others: Vec<&str> = row["subStats"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|other| other["seuuid"].as_str())
                .collect();
            assert!(
                !others.is_empty() && others.iter().all(|uuid| uuid.starts_with("serviceengine-")),
                "{row}"
            );
        }
    }
    for of in [site.service.clone(), format!("/api/virtualservice/{}#x", site.service)] {
        let of = of.replace('#', "%23");
        let all = rows(site, &format!("{pool}/runtime/internal?vs_ref={of}&page_size=1"));
        assert_eq!(told_by(&all), uuids, "{of}");
        let is_told = |row: &Value| {
            row["num_persistence_objs"] == clients
                && row["persistence_entry"].as_array().is_some_and(|listed| listed.len() == 1)
        };
        assert!(all.iter().all(is_told), "one is listed, and all are counted: {all:?}");
    }
    let one = site.lab.client_ip(0);
    let all = rows(site, &format!("{pool}/persistence?persistence_ip={one}"));
    assert_eq!(told_by(&all), uuids);
    let servers: BTreeSet<String> = all
        .iter()
        .map(|row| {
            let entries = row["persistence_entry"].as_array().expect("a list");
            assert_eq!((entries.len(), row["uuid"].as_str()), (1, Some(site.pool.as_str())), "{row}");
            entries[0]["server_key"].as_str().expect("an address").to_owned()
        })
        .collect();
    assert_eq!(servers.len(), 1, "both know the same server");
}
