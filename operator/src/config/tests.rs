use clap::error::ErrorKind;

use super::*;

fn read(flags: &[&str]) -> Result<Config, clap::Error> {
    Config::from_arguments(["operator"].iter().chain(flags))
}

#[test]
fn an_installation_id_is_all_that_must_be_given() {
    let config = read(&["--installation", "prod-eu"]).unwrap();
    assert_eq!(config.installation.as_str(), "prod-eu");
    assert_eq!((config.namespace.as_str(), config.service_account.as_str()), ("steading-system", "steading"));
    assert_eq!(config.timings, Timings::default());
    assert_eq!(read(&[]).unwrap_err().kind(), ErrorKind::MissingRequiredArgument);
}

#[test]
fn flags_and_the_defaults_of_tests_agree() {
    let by_flags = read(&["--installation", "prod-eu"]).unwrap();
    let by_hand = Config { instance: by_flags.instance.clone(), ..Config::of("prod-eu".parse().unwrap()) };
    assert_eq!(format!("{by_flags:?}"), format!("{by_hand:?}"));
}

#[test]
fn each_flag_lands_in_its_own_field() {
    let config = read(&[
        "--installation=prod-eu",
        "--namespace=farm",
        "--service-account=farmer",
        "--break-glass-groups=vets,fire brigade",
        "--cnpg-namespace=wells",
        "--cnpg-service-account=well-keeper",
        "--cnpg-plugin-service-account=well-digger",
        "--relay-service=post-office",
        "--relay-authority=/stamps",
        "--instance=pod-7",
        "--kubeconfig=/k",
        "--http-address=127.0.0.1:9",
        "--log-format=text",
        "--log-filter=debug",
        "--workers=3",
        "--lease-duration=30s",
        "--lease-renew=9s",
        "--lease-retry=4s",
        "--reconcile-timeout=50s",
        "--resync-period=2h",
        "--canary-period=11m",
        "--shutdown-grace=7s",
    ])
    .unwrap();
    assert_eq!((config.namespace.as_str(), config.service_account.as_str()), ("farm", "farmer"));
    assert_eq!(config.break_glass_groups, ["vets", "fire brigade"]);
    let expected = CloudNativePg {
        namespace: "wells".into(),
        operator_service_account: "well-keeper".into(),
        plugin_service_account: "well-digger".into(),
    };
    assert_eq!(config.cloud_native_pg, expected);
    assert_eq!(config.relay, Some(Relay { service: "post-office".into(), authority: "/stamps".into() }));
    assert!(config.instance.starts_with("pod-7_"), "{}", config.instance);
    assert_eq!(config.kubeconfig, Some(PathBuf::from("/k")));
    assert_eq!(config.http_address, SocketAddr::from(([127, 0, 0, 1], 9)));
    assert_eq!(config.log, Log { format: LogFormat::Text, filter: "debug".into() });
    assert_eq!(config.workers, 3);
    let expected = Timings {
        lease_duration: Duration::from_secs(30),
        lease_renew: Duration::from_secs(9),
        lease_retry: Duration::from_secs(4),
        reconcile: Duration::from_secs(50),
        resync: Duration::from_hours(2),
        stalled: Duration::from_mins(5),
        sweep: Duration::from_mins(5),
        canary: Duration::from_mins(11),
        shutdown: Duration::from_secs(7),
    };
    assert_eq!(config.timings, expected);
}

#[test]
fn a_relay_needs_its_certificates() {
    for alone in ["--relay-service=post-office", "--relay-authority=/stamps"] {
        let refused = read(&["--installation=prod-eu", alone]).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::MissingRequiredArgument, "{alone}");
    }
}

#[test]
fn no_group_is_written_as_nothing() {
    let config = read(&["--installation=prod-eu", "--break-glass-groups="]).unwrap();
    assert!(config.break_glass_groups.is_empty());
}

#[test]
fn two_processes_of_one_pod_name_have_different_instances() {
    let one = read(&["--installation=prod-eu", "--instance=pod-7"]).unwrap();
    let two = read(&["--installation=prod-eu", "--instance=pod-7"]).unwrap();
    assert_ne!(one.instance, two.instance);
}

#[test]
fn refusals_name_the_flag_and_what_to_write() {
    let cases: &[(&[&str], &str)] = &[
        (&["--installation=Prod EU"], "--installation"),
        (&["--installation=a", "--namespace=a.b"], "lower-case letters, digits and dashes"),
        (&["--installation=a", "--service-account=-a"], "lower-case letters, digits and dashes"),
        (&["--installation=a", "--instance=a b"], "without spaces"),
        (&["--installation=a", "--break-glass-groups=a,b'] || true || ['"], "is no group"),
        (&["--installation=a", "--cnpg-namespace=cnpg' || true || '"], "lower-case letters, digits and dashes"),
        (&["--installation=a", "--cnpg-service-account="], "lower-case letters, digits and dashes"),
        (&["--installation=a", "--cnpg-plugin-service-account=a:b"], "lower-case letters, digits and dashes"),
        (&["--installation=a", "--workers=0"], "1..=256"),
        (&["--installation=a", "--lease-duration=15"], "write it like 500ms, 15s"),
        (&["--installation=a", "--lease-duration=-15s"], "write it like 500ms, 15s"),
        (&["--installation=a", "--lease-duration=2m"], "from 3s to 60s"),
        (&["--installation=a", "--lease-duration=9s"], "--lease-renew is 5s; write a duration from 500ms to 3s"),
        (&["--installation=a", "--lease-retry=6s"], "--lease-retry is 6s; write a duration from 500ms to 5s"),
        (&["--installation=a", "--reconcile-timeout=0s"], "--reconcile-timeout is 0ns"),
        (&["--installation=a", "--resync-period=59s"], "--resync-period is 59s"),
        (&["--installation=a", "--canary-period=1s"], "--canary-period is 1s"),
        (&["--installation=a", "--shutdown-grace=11m"], "--shutdown-grace is 660s"),
        (&["--installation=a", "--http-address=8080"], "--http-address"),
    ];
    for (flags, expected) in cases {
        let message = read(flags).unwrap_err().to_string();
        assert!(message.contains(expected), "{flags:?} was refused with:\n{message}");
    }
}

#[test]
fn help_shows_an_example_and_fits_80_columns() {
    let help = read(&["--help"]).unwrap_err();
    assert_eq!(help.kind(), ErrorKind::DisplayHelp);
    let text = help.to_string();
    assert!(text.contains("operator --installation prod-eu"), "{text}");
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "{} columns: {line}", line.chars().count());
    }
}

#[test]
fn debug_shows_no_credentials() {
    let mut kube = kube::Config::new("https://api.example".parse().unwrap());
    kube.headers.push((http::header::AUTHORIZATION, http::HeaderValue::from_static("Bearer hidden")));
    let config = Config { kube: Some(kube), ..Config::of("prod-eu".parse().unwrap()) };
    assert!(!format!("{config:?}").contains("hidden"));
}

#[tokio::test]
async fn a_missing_kubeconfig_is_named() {
    let config = Config { kubeconfig: Some("/nowhere/kubeconfig".into()), ..Config::of("prod-eu".parse().unwrap()) };
    let message = config.kube().await.unwrap_err().to_string();
    assert!(message.contains("/nowhere/kubeconfig"), "{message}");
}
