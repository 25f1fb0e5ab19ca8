//! Where a person looks at what runs.

use super::state::State;

/// What a server's variable is, and the path at which there is something to see.
const PAGES: [(&str, &str, &str); 8] = [
    ("FTS_TEST_NODES", "page of a node", "/"),
    ("FTS_TEST_SUPERSET", "Superset", "/dashboard/list/"),
    ("FTS_TEST_PROMETHEUS", "Prometheus", "/alerts"),
    ("FTS_TEST_EXCHANGE", "simulated exchange", "/control/faults"),
    ("FTS_TEST_ELASTICSEARCH", "Elasticsearch", "/_cat/indices?v"),
    ("FTS_TEST_TRINO", "Trino, for SQL clients", ""),
    ("FTS_TEST_CASSANDRA", "Cassandra, for CQL clients", ""),
    ("FTS_TEST_KAFKA", "Kafka, for its clients", ""),
];

/// A line for each address, with whom to log in as.
pub(super) fn of(state: &State) -> Vec<String> {
    let variables = || state.entries.iter().flat_map(|it| &it.variables);
    let told = |name: &str| variables().find(|it| it.0 == name).map(|it| it.1.as_str());
    let mut lines = Vec::new();
    for (variable, what, path) in PAGES {
        for address in told(variable).into_iter().flat_map(|it| it.split(',')) {
            let is_page = !path.is_empty() && !address.contains("://");
            let scheme = if is_page { "http://" } else { "" };
            let user = told(&format!("{variable}_USER"));
            let password = told(&format!("{variable}_PASSWORD"));
            let login = match (user, password) {
                // Whoever is no page has the open port here, too.
                (Some(user), Some(password)) if !path.is_empty() => {
                    format!("   log in as {user}, {password}")
                }
                _ => String::new(),
            };
            lines.push(format!("{what:<28} {scheme}{address}{path}{login}"));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::super::state::Entry;
    use super::*;

    #[test]
    fn every_address_is_told_with_its_login() {
        let variables = [
            ("FTS_TEST_NODES", "127.0.0.1:1,127.0.0.1:2"),
            ("FTS_TEST_SUPERSET", "http://127.0.0.1:3"),
            ("FTS_TEST_SUPERSET_USER", "admin"),
            ("FTS_TEST_SUPERSET_PASSWORD", "word"),
            ("FTS_TEST_KAFKA", "127.0.0.1:4"),
            ("FTS_TEST_KAFKA_USER", "fts"),
            ("FTS_TEST_KAFKA_PASSWORD", "word"),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let entry = Entry {
            service: "all".to_owned(),
            ports: Vec::new(),
            processes: Vec::new(),
            variables: variables.into(),
        };
        let told = of(&State { entries: vec![entry] });
        let squeezed = |line: &String| line.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(
            told.iter().map(squeezed).collect::<Vec<_>>(),
            [
                "page of a node http://127.0.0.1:1/",
                "page of a node http://127.0.0.1:2/",
                "Superset http://127.0.0.1:3/dashboard/list/ log in as admin, word",
                "Kafka, for its clients 127.0.0.1:4",
            ]
        );
    }
}
