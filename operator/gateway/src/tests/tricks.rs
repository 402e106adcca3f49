//! Ways round that stand in one request or in one answer of DNS. Nothing of it may reach the world.

use super::stage::{Stage, send, until};
use crate::{host::Host, reason::Reason};

/// Name of the trick, head of the request, why it is refused.
const HEADS: &[(&str, &str, Reason)] = &[
    ("loopback in decimal", "CONNECT 2130706433:443 HTTP/1.1\n", Reason::Malformed),
    ("loopback in octal", "CONNECT 0177.0.0.1:443 HTTP/1.1\n", Reason::Malformed),
    ("loopback in hexadecimal", "CONNECT 0x7f000001:443 HTTP/1.1\n", Reason::Malformed),
    ("loopback in two parts", "CONNECT 127.1:443 HTTP/1.1\n", Reason::Malformed),
    ("loopback with a dot at the end", "CONNECT 127.0.0.1.:443 HTTP/1.1\n", Reason::Malformed),
    ("loopback as it is", "CONNECT 127.0.0.1:443 HTTP/1.1\n", Reason::HostNotAllowed),
    ("loopback of version six", "CONNECT [::1]:443 HTTP/1.1\n", Reason::HostNotAllowed),
    ("localhost", "CONNECT localhost:443 HTTP/1.1\n", Reason::Malformed),
    ("a name of the search list", "CONNECT kubernetes:443 HTTP/1.1\n", Reason::Malformed),
    (
        "the API server by its name",
        "CONNECT kubernetes.default.svc.cluster.local:443 HTTP/1.1\n",
        Reason::HostNotAllowed,
    ),
    ("metadata in plain HTTP", "GET http://169.254.169.254/latest/meta-data/ HTTP/1.1\n", Reason::HostNotAllowed),
    ("metadata as a mapped address", "CONNECT [::ffff:169.254.169.254]:443 HTTP/1.1\n", Reason::HostNotAllowed),
    ("metadata through NAT64", "CONNECT [64:ff9b::a9fe:a9fe]:443 HTTP/1.1\n", Reason::HostNotAllowed),
    ("metadata of version six", "GET http://[fd00:ec2::254]/ HTTP/1.1\n", Reason::HostNotAllowed),
    ("an allowed host by its address", "CONNECT 93.184.215.14:443 HTTP/1.1\n", Reason::HostNotAllowed),
    ("a zone in the address", "CONNECT [fe80::1%25eth0]:443 HTTP/1.1\n", Reason::Malformed),
    ("user before the host", "CONNECT api.example.com@evil.example:443 HTTP/1.1\n", Reason::Malformed),
    ("port before the host", "CONNECT api.example.com:443@evil.example:443 HTTP/1.1\n", Reason::Malformed),
    ("user in an absolute address", "GET http://api.example.com@evil.example/ HTTP/1.1\n", Reason::Malformed),
    ("a fragment before the host", "GET http://evil.example#@api.example.com/ HTTP/1.1\n", Reason::HostNotAllowed),
    ("a backslash before the host", "GET http://evil.example\\@api.example.com/ HTTP/1.1\n", Reason::Malformed),
    ("a dot that is escaped", "CONNECT api%2eexample.com:443 HTTP/1.1\n", Reason::Malformed),
    ("a zero byte", "CONNECT api.example.com\0.evil.example:443 HTTP/1.1\n", Reason::Malformed),
    ("two dots at the end", "CONNECT api.example.com..:443 HTTP/1.1\n", Reason::Malformed),
    ("another host in capitals and with a dot", "CONNECT EVIL.example.:443 HTTP/1.1\n", Reason::HostNotAllowed),
    ("an allowed name in front", "CONNECT api.example.com.evil.example:443 HTTP/1.1\n", Reason::HostNotAllowed),
    ("an allowed name at the end", "CONNECT evilapi.example.com:443 HTTP/1.1\n", Reason::HostNotAllowed),
    ("the parent of a wildcard", "CONNECT apps.example.com:443 HTTP/1.1\n", Reason::HostNotAllowed),
    ("two parts below a wildcard", "CONNECT a.b.apps.example.com:443 HTTP/1.1\n", Reason::HostNotAllowed),
    ("a wildcard as a name", "CONNECT *.apps.example.com:443 HTTP/1.1\n", Reason::Malformed),
    ("SSH at an allowed host", "CONNECT api.example.com:22 HTTP/1.1\n", Reason::PortNotAllowed),
    ("a port that wraps round to 443", "CONNECT api.example.com:65979 HTTP/1.1\n", Reason::Malformed),
    ("port zero", "CONNECT api.example.com:0 HTTP/1.1\n", Reason::Malformed),
    ("no port", "CONNECT api.example.com HTTP/1.1\n", Reason::Malformed),
    ("CONNECT with a path", "CONNECT http://api.example.com:443/ HTTP/1.1\n", Reason::Malformed),
    ("https without a tunnel", "GET https://api.example.com/ HTTP/1.1\n", Reason::SchemeNotAllowed),
    ("another scheme", "GET ftp://api.example.com/ HTTP/1.1\n", Reason::SchemeNotAllowed),
    ("the gateway as a server", "GET /metrics HTTP/1.1\nHost: api.example.com\n", Reason::Malformed),
    ("another Host field", "GET http://api.example.com/ HTTP/1.1\nHost: evil.example\n", Reason::HostMismatch),
    (
        "another Host field of CONNECT",
        "CONNECT api.example.com:443 HTTP/1.1\nHost: evil.example:443\n",
        Reason::HostMismatch,
    ),
    (
        "two Host fields",
        "GET http://api.example.com/ HTTP/1.1\nHost: api.example.com\nHost: evil.example\n",
        Reason::HostMismatch,
    ),
    ("a method that reflects", "TRACE http://api.example.com/ HTTP/1.1\n", Reason::Malformed),
    (
        "two lengths",
        "POST http://api.example.com/ HTTP/1.1\nContent-Length: 4\nContent-Length: 40\n",
        Reason::Malformed,
    ),
    ("a length that is signed", "POST http://api.example.com/ HTTP/1.1\nContent-Length: +4\n", Reason::Malformed),
    (
        "an encoding that is not known",
        "POST http://api.example.com/ HTTP/1.1\nTransfer-Encoding: xchunked\n",
        Reason::Malformed,
    ),
    ("a space before the colon", "GET http://api.example.com/ HTTP/1.1\nHost : evil.example\n", Reason::Malformed),
    ("a folded field", "GET http://api.example.com/ HTTP/1.1\nX-A: b\n evil: c\n", Reason::Malformed),
    ("another version", "GET http://api.example.com/ HTTP/3.0\n", Reason::Malformed),
];

#[tokio::test]
async fn no_head_of_a_request_leads_round_the_list() {
    let stage = Stage::new().await;
    for (trick, head, reason) in HEADS {
        let answer = stage.ask(head).await;
        assert!(answer.is(*reason), "{trick}: {reason} expected: {answer:?}");
    }
    assert_eq!(stage.world.dialled(), [] as [&str; 0]);
    assert_eq!(*stage.world.asked.lock().unwrap(), [] as [&str; 0], "DNS would carry names out");
}

#[tokio::test]
async fn look_alikes_in_punycode_are_other_hosts() {
    let stage = Stage::new().await;
    let look_alike = Host::parse("\u{430}pi.example.com").unwrap();
    let answer = stage.ask(&format!("CONNECT {look_alike}:443 HTTP/1.1\n")).await;
    assert!(answer.is(Reason::HostNotAllowed), "{answer:?}");
    let answer = stage.ask("CONNECT \u{430}pi.example.com:443 HTTP/1.1\n").await;
    assert!(answer.is(Reason::Malformed), "{answer:?}");
}

#[tokio::test]
async fn no_answer_of_dns_leads_to_an_address_that_is_not_public() {
    let stage = Stage::new().await;
    let tricks: &[(&str, &[&str])] = &[
        ("private", &["192.168.1.1"]),
        ("an alias of a name inside", &["172.20.0.10"]),
        ("loopback", &["127.0.0.1"]),
        ("loopback elsewhere in its range", &["127.8.8.8"]),
        ("unspecified, which is this machine", &["0.0.0.0"]),
        ("metadata", &["169.254.169.254"]),
        ("metadata of Azure, at a public address", &["168.63.129.16"]),
        ("metadata of version six", &["fd00:ec2::254"]),
        ("link-local", &["fe80::1"]),
        ("shared", &["100.64.0.1"]),
        ("multicast", &["239.1.1.1"]),
        ("broadcast", &["255.255.255.255"]),
        ("of the cluster", &["10.96.0.1"]),
        ("of the cluster, though public", &["93.184.216.7"]),
        ("private as a mapped address", &["::ffff:192.168.1.1"]),
        ("private as a compatible address", &["::192.168.1.1"]),
        ("metadata through NAT64", &["64:ff9b::a9fe:a9fe"]),
        ("private through NAT64 of one's own", &["64:ff9b:1::c0a8:101"]),
        ("private through 6to4", &["2002:c0a8:101::1"]),
        ("private through Teredo", &["2001:0:c0a8:101::"]),
        ("unique local", &["fd12:3456::1"]),
        ("public and private together", &["93.184.215.14", "192.168.1.1"]),
        ("private and public together", &["192.168.1.1", "93.184.215.14"]),
        ("listed as an address and asked for by a name", &["10.1.2.3"]),
    ];
    for (trick, addresses) in tricks {
        stage.world.name("a.apps.example.com", &[addresses]);
        for head in ["CONNECT a.apps.example.com:443 HTTP/1.1\n", "GET http://a.apps.example.com:443/ HTTP/1.1\n"] {
            let answer = stage.ask(head).await;
            assert!(answer.is(Reason::AddressNotAllowed), "{trick}: {answer:?}");
        }
    }
    assert_eq!(stage.world.dialled(), [] as [&str; 0]);
    assert_eq!(stage.denials(Reason::AddressNotAllowed), 2 * tricks.len() as u64);
}

#[tokio::test]
async fn a_name_that_changes_its_mind_is_asked_once_and_dialled_as_it_was_checked() {
    let stage = Stage::new().await;
    let _listener = stage.world.listen("93.184.215.14:443").await;
    stage.world.name("a.apps.example.com", &[&["93.184.215.14"], &["127.0.0.1"]]);
    let _tunnel = stage.tunnel("a.apps.example.com:443").await;
    assert_eq!(stage.world.asked.lock().unwrap().len(), 1);
    let answer = stage.ask("CONNECT a.apps.example.com:443 HTTP/1.1\n").await;
    assert!(answer.is(Reason::AddressNotAllowed), "{answer:?}");
    assert_eq!(stage.world.dialled(), ["93.184.215.14:443"]);
}

#[tokio::test]
async fn a_name_without_addresses_and_a_host_that_does_not_listen_are_told_apart() {
    let stage = Stage::new().await;
    let answer = stage.ask("CONNECT missing.apps.example.com:443 HTTP/1.1\n").await;
    assert!(answer.is(Reason::NameNotFound), "{answer:?}");
    let answer = stage.ask("CONNECT api.example.com:443 HTTP/1.1\n").await;
    assert!(answer.is(Reason::Unreachable), "{answer:?}");
    assert_eq!(
        answer.body,
        "steading-gateway: api.example.com:443 does not take connections (Unreachable); check that the host listens at that port and \
         lets the gateway in\n"
    );
}

#[tokio::test]
async fn a_head_without_end_is_cut_off() {
    let stage = Stage::new().await;
    let answer = stage.ask(&format!("CONNECT api.example.com:443 HTTP/1.1\nX-Long: {}\n", "a".repeat(20_000))).await;
    assert!(answer.is(Reason::HeadTooLarge), "{answer:?}");
    stage
        .until("the denial", |stage| {
            stage.counted(r#"steading_egress_requests_total{decision="denied",pool="",reason="HeadTooLarge"}"#) == 1
        })
        .await;
}

#[tokio::test]
async fn a_request_hidden_behind_a_refused_one_is_judged_like_any_other() {
    let stage = Stage::new().await;
    let mut agent = stage.agent().await;
    let first = stage.head("GET http://evil.example/ HTTP/1.1\n");
    let second = stage.head("CONNECT evil.example:443 HTTP/1.1\nConnection: close\n");
    send(&mut agent, &format!("{first}{second}")).await;
    let answers = until(&mut agent, "\0").await;
    assert_eq!(answers.matches("(HostNotAllowed)").count(), 2, "{answers}");
}
