//! Names outside the cluster, whatever installations and identities are called: legal at each provider, no two the same, and within
//! an installation none the beginning of another, so that no rule written for one can mean two.

use proptest::prelude::*;

use super::*;

/// Few letters and many dashes, so that names that run into one another are among them.
fn any_installation() -> impl Strategy<Value = Installation> {
    prop_oneof!["[ab]([ab-]{0,4}[ab])?", "[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?"]
        .prop_map(|text| Installation::new(&text).unwrap())
}

fn any_identity() -> impl Strategy<Value = Identity> {
    "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}".prop_map(|text| Identity::new(&text).unwrap())
}

/// Lower-case letters, digits and dashes, beginning and ending with a letter or digit.
fn is_plain(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    name.bytes().all(plain) && !name.starts_with('-') && !name.ends_with('-')
}

/// What S3 stores refuse beside the alphabet and the length.
const RESERVED: [(&str, &str); 6] =
    [("xn--", ""), ("sthree-", ""), ("amzn-s3-demo-", ""), ("", "-s3alias"), ("", "--ol-s3"), ("", "--x-s3")];

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn every_name_is_legal_at_its_provider(installation in any_installation(), identity in any_identity()) {
        let key = transit_key(&installation, &identity);
        prop_assert!(is_plain(&key) && key.len() <= 128, "{}", key);
        let at_key_server = key_server_key(&installation, &identity);
        prop_assert!(is_plain(&at_key_server) && (1..=80).contains(&at_key_server.len()), "{}", at_key_server);
        let bucket = bucket(&installation, &identity);
        prop_assert!(is_plain(&bucket) && (3..=63).contains(&bucket.len()), "{}", bucket);
        let reserved = RESERVED.iter().any(|(start, end)| (!start.is_empty() && bucket.starts_with(start)) || (!end.is_empty() && bucket.ends_with(end)));
        prop_assert!(!reserved, "{}", bucket);
    }

    #[test]
    fn no_two_owners_share_a_name(
        one in (any_installation(), any_identity()),
        other in (any_installation(), any_identity()),
        same_installation in any::<bool>(),
        same_identity in any::<bool>(),
    ) {
        let other = (
            if same_installation { one.0.clone() } else { other.0 },
            if same_identity { one.1.clone() } else { other.1 },
        );
        for make in [transit_key, key_server_key, bucket, backup_bucket] {
            prop_assert_eq!(make(&one.0, &one.1) == make(&other.0, &other.1), one == other);
        }
    }

    #[test]
    fn within_an_installation_no_name_is_the_beginning_of_another(
        installation in any_installation(),
        one in any_identity(),
        other in any_identity(),
    ) {
        prop_assume!(one != other);
        for make in [transit_key, key_server_key, bucket, backup_bucket] {
            prop_assert!(!make(&installation, &one).starts_with(&make(&installation, &other)));
        }
    }
}
