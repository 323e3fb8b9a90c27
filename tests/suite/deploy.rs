//! What `deploy/` gives to programs that are not on this machine: read by a parser, and held against what there is. That a
//! container runtime takes it is not shown here.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use weir_tests::binary;
use yaml_rust2::{Yaml, YamlLoader};

fn deploy() -> PathBuf {
    binary::root().join("deploy")
}

fn documents(name: &str) -> Vec<Yaml> {
    let text = std::fs::read_to_string(deploy().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    YamlLoader::load_from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A member, also one that is merged in.
fn at<'y>(yaml: &'y Yaml, name: &str) -> &'y Yaml {
    match &yaml[name] {
        Yaml::BadValue if !yaml["<<"].is_badvalue() => at(&yaml["<<"], name),
        found => found,
    }
}

fn list(yaml: &Yaml) -> &[Yaml] {
    yaml.as_vec().map_or(&[], Vec::as_slice)
}

fn texts(yaml: &Yaml) -> Vec<&str> {
    list(yaml).iter().filter_map(Yaml::as_str).collect()
}

fn names(yaml: &Yaml) -> Vec<&str> {
    yaml.as_hash().into_iter().flatten().filter_map(|(name, _)| name.as_str()).collect()
}

/// The variables that the programs say they read, and those that only stand in their documentation.
fn variables() -> BTreeSet<String> {
    let mut text = std::fs::read_to_string(deploy().join("README.md")).unwrap();
    for (program, words) in
        [(binary::weir(), &["--help"][..]), (binary::weirctl(), &["--help"]), (binary::weirctl(), &["serve", "--help"])]
    {
        let said = Command::new(program).args(words).output().unwrap();
        text += &String::from_utf8_lossy(&said.stdout);
    }
    let word = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    text.split(|c: char| !word(c)).filter(|name| name.starts_with("WEIR_")).map(str::to_owned).collect()
}

#[test]
fn compose_names_what_there_is() {
    let [compose] = documents("compose.yaml").try_into().expect("one document");
    let (services, known) = (&compose["services"], variables());
    assert_eq!(
        names(services),
        ["etcd", "weir-a", "weir-b", "certificate", "serve", "weirctl", "prometheus", "grafana"]
    );
    let (networks, volumes) = (names(&compose["networks"]), names(&compose["volumes"]));
    let mut addresses = BTreeSet::new();
    for name in names(services) {
        let service = &services[name];
        assert!(!at(service, "image").is_badvalue() || !at(service, "build").is_badvalue(), "{name}");
        for volume in texts(at(service, "volumes")) {
            let from = volume.split(':').next().unwrap();
            match from {
                path if path.starts_with("./") => assert!(deploy().join(path).exists(), "{name}: {path}"),
                path if path.starts_with("${") => {}
                volume => assert!(volumes.contains(&volume), "{name}: {volume}"),
            }
        }
        for on in names(at(service, "networks")).into_iter().chain(texts(at(service, "networks"))) {
            assert!(networks.contains(&on), "{name}: {on}");
        }
        addresses.extend(at(&at(service, "networks")["weir"], "ipv4_address").as_str());
        for on in texts(at(service, "depends_on")).into_iter().chain(names(at(service, "depends_on"))) {
            assert!(names(services).contains(&on), "{name}: {on}");
        }
        let environment = at(service, "environment");
        for variable in names(environment).iter().filter(|variable| variable.starts_with("WEIR_")) {
            assert!(known.contains(*variable), "{name}: nobody reads {variable}");
        }
        for option in texts(at(service, "security_opt")) {
            if let Some(path) = option.strip_prefix("seccomp:") {
                assert!(deploy().join(path).exists(), "{name}: {path}");
            }
        }
        if name.starts_with("weir") || name == "serve" {
            assert_eq!(
                (at(service, "read_only").as_bool(), texts(at(service, "cap_drop"))),
                (Some(true), vec!["ALL"]),
                "{name}"
            );
        }
        if name.starts_with("weir-") {
            let admin = at(environment, "WEIR_ADMIN").as_str().unwrap();
            let own = at(&at(service, "networks")["weir"], "ipv4_address").as_str().unwrap();
            assert_eq!(admin, format!("{own}:8081"), "{name}");
            assert!(texts(&service["healthcheck"]["test"])[3].contains(&format!("/{own}/8081")), "{name}");
            // Nobody outside sees it.
            assert!(texts(at(service, "ports")).iter().all(|port| port.ends_with(":8080")), "{name}");
        }
    }
    let [prometheus] = documents("prometheus/prometheus.yml").try_into().expect("one document");
    let targets = texts(&prometheus["scrape_configs"][0]["static_configs"][0]["targets"]);
    assert_eq!(targets.len(), 2);
    assert!(targets.iter().all(|target| addresses.contains(target.strip_suffix(":8081").unwrap())), "{targets:?}");
    for name in ["grafana/provisioning/datasources/prometheus.yaml", "grafana/provisioning/dashboards/weir.yaml"] {
        assert_eq!(documents(name)[0]["apiVersion"].as_i64(), Some(1), "{name}");
    }
}

#[test]
fn kubernetes_names_what_there_is() {
    let (all, known) = (documents("kubernetes/weir.yaml"), variables());
    let of_kind = |kind: &str| all.iter().filter(|object| object["kind"].as_str() == Some(kind)).collect::<Vec<_>>();
    let pods = of_kind("StatefulSet");
    assert_eq!((pods.len(), of_kind("PodDisruptionBudget").len(), of_kind("Service").len()), (2, 1, 3));
    let services: Vec<_> =
        of_kind("Service").iter().map(|service| service["metadata"]["name"].as_str().unwrap()).collect();
    // Whatever selects, selects somebody, and asks for a port that is there.
    let labels = |pod: &Yaml| pod["spec"]["template"]["metadata"]["labels"].clone();
    let selected = |selector: &Yaml| {
        let fits = |pod: &&&Yaml| names(selector).iter().all(|name| labels(pod)[*name] == selector[*name]);
        pods.iter().find(fits).copied().unwrap_or_else(|| panic!("{selector:?} selects nobody"))
    };
    let container = |pod: &Yaml| pod["spec"]["template"]["spec"]["containers"][0].clone();
    let has_port = |pod: &Yaml, port: &Yaml| list(&container(pod)["ports"]).iter().any(|known| known["name"] == *port);
    for service in of_kind("Service") {
        let pod = selected(&service["spec"]["selector"]);
        assert!(list(&service["spec"]["ports"]).iter().all(|port| has_port(pod, &port["targetPort"])));
    }
    for policy in of_kind("NetworkPolicy") {
        let pod = selected(&policy["spec"]["podSelector"]["matchLabels"]);
        for rule in list(&policy["spec"]["ingress"]) {
            assert!(list(&rule["ports"]).iter().all(|port| has_port(pod, &port["port"])));
        }
    }
    assert_eq!(
        selected(&of_kind("PodDisruptionBudget")[0]["spec"]["selector"]["matchLabels"])["metadata"]["name"].as_str(),
        Some("weir")
    );
    for pod in &pods {
        let name = pod["metadata"]["name"].as_str().unwrap();
        let (spec, container) = (&pod["spec"]["template"]["spec"], container(pod));
        assert_eq!(pod["spec"]["selector"]["matchLabels"], labels(pod), "{name}");
        assert!(services.contains(&pod["spec"]["serviceName"].as_str().unwrap()), "{name}");
        for variable in list(&container["env"]).iter().filter_map(|variable| variable["name"].as_str()) {
            assert!(known.contains(variable) || variable == "POD_IP", "{name}: nobody reads {variable}");
        }
        let claims = list(&pod["spec"]["volumeClaimTemplates"]).iter().map(|claim| &claim["metadata"]["name"]);
        let volumes: Vec<_> = list(&spec["volumes"]).iter().map(|volume| &volume["name"]).chain(claims).collect();
        for mount in list(&container["volumeMounts"]) {
            assert!(volumes.contains(&&mount["name"]), "{name}: {mount:?}");
        }
        for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
            let get = &container[probe]["httpGet"];
            assert!(["/ready", "/live"].contains(&get["path"].as_str().unwrap()), "{name} {probe}");
            assert!(has_port(pod, &get["port"]), "{name} {probe}");
        }
        // A node that lost its store, or drains, is alive: it must not be killed for it.
        assert_eq!(container["livenessProbe"]["httpGet"]["path"].as_str(), Some("/live"), "{name}");
        let may = &container["securityContext"];
        assert_eq!(spec["securityContext"]["runAsNonRoot"].as_bool(), Some(true), "{name}");
        assert_eq!(may["allowPrivilegeEscalation"].as_bool(), Some(false), "{name}");
        assert_eq!(may["readOnlyRootFilesystem"].as_bool(), Some(true), "{name}");
        assert_eq!(texts(&may["capabilities"]["drop"]), ["ALL"], "{name}");
    }
    let node = pods.iter().find(|pod| pod["metadata"]["name"].as_str() == Some("weir")).unwrap();
    let grace = node["spec"]["template"]["spec"]["terminationGracePeriodSeconds"].as_i64().unwrap();
    assert!(grace > 300 + 5, "open streams may finish for five minutes");
}
