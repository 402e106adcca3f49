//! The CEL rules of TenantClass.

use serde_json::{Value, json};

use crate::objects::{at, full, set};
use crate::rules::{Case, HOSTILE};
use crate::tenants::DURATION;

const REGION: &str = "must be a region name of lower-case letters, digits and dashes, such as eu-central-1 or site-a";
const ENDPOINT: &str = "must be an https address in lower case with nothing but host and port, such as \
    https://bao.example:8200 (no user, path or query)";
const BUNDLE: &str = "caBundle must be PEM text that begins with -----BEGIN CERTIFICATE----- and holds certificates only, \
    never a private key";
const PATH: &str = "must be a path of letters, digits, dashes and underscores without leading or trailing slash, such as \
    transit or teams/platform";
const IDENTIFIER: &str = "must be letters, digits and . _ : / - , beginning and ending with a letter or digit";
const STORE_ID: &str =
    "must be the id of a store: 26 digits and capitals without I, L, O and U, such as 01JZ8Q5W3N8M4T6R2V9X7B1C0D";
const OPENFGA: &str = "spec.authorization.openfga";
const SECRET: &str = "must be the name of a Secret in Steading's own namespace: lower-case letters, digits and dashes";
const OPENBAO: &str = "spec.keys.openbao";
const S3: &str = "spec.buckets.s3";

pub fn cases() -> Vec<Case> {
    let mut cases = vec![name()];
    cases.extend(residency());
    cases.extend(keys());
    cases.extend(buckets());
    cases.extend(authorization());
    cases.extend(shared());
    cases
}

fn of(path: &'static str, message: &'static str) -> Case {
    Case::of("TenantClass", path, message)
}

fn name() -> Case {
    let message = "metadata.name must be a DNS label of at most 40 characters: lower-case letters, digits and dashes, such \
        as on-premises (no dots)";
    ["on.premises", &"a".repeat(41), &"a".repeat(253)]
        .into_iter()
        .fold(of("", message), |case, text| case.refuses(text).at("metadata.name"))
        .takes("a".repeat(40))
        .at("metadata.name")
}

fn residency() -> Vec<Case> {
    let regions = "spec.residency.regions";
    let each = "each region must be lower-case letters, digits and dashes, such as eu-central-1 or site-a";
    let hostile = HOSTILE.into_iter().chain(["Site-A", "-a", "a-", "eu.central"]);
    vec![
        of(regions, "residency.regions is immutable: create a new object to use another")
            .refuses_change(json!(["site-a", "site-b"]), json!(["site-a", "site-b", "site-c"]))
            .refuses_change(json!(["site-a", "site-b", "site-c"]), json!(["site-a", "site-b"])),
        hostile.fold(of(regions, each), |case, text| case.refuses(json!(["site-a", "site-b", text]))),
        of("spec", "keys.openbao.region must be one of residency.regions: keys may not be made outside them")
            .refuses("us-east-1")
            .at("spec.keys.openbao.region"),
        of("spec", "buckets.s3.region must be one of residency.regions: buckets may not be made outside them")
            .refuses("us-east-1")
            .at("spec.buckets.s3.region")
            .takes("site-a")
            .at("spec.buckets.s3.region"),
    ]
}

fn keys() -> Vec<Case> {
    let order = "rotationPeriod must have 1h <= min <= default <= max";
    let periods = |min: &str, default: &str, max: &str| json!({ "min": min, "default": default, "max": max });
    let namespace = "spec.keys.openbao.namespace";
    vec![
        of("spec.keys", "keys must name where keys are made: set keys.openbao").refuses(json!({})),
        of(OPENBAO, "keys.openbao.namespace is immutable: create a new TenantClass to use another")
            .refuses_change("teams/platform", "teams/other")
            .at(namespace)
            .refuses_change(Value::Null, "teams/platform")
            .at(namespace)
            .refuses_change("teams/platform", Value::Null)
            .at(namespace),
        immutable(
            "spec.keys.openbao.region",
            "keys.openbao.region is immutable: create a new object to use another",
            "site-a",
            "site-b",
        ),
        immutable(
            "spec.keys.openbao.address",
            "keys.openbao.address is immutable: create a new object to use another",
            "https://bao.example",
            "https://bao.evil",
        ),
        immutable(
            "spec.keys.openbao.mount",
            "keys.openbao.mount is immutable: create a new object to use another",
            "transit",
            "other",
        ),
        of("spec.keys.openbao.rotationPeriod", order)
            .refuses(periods("59m", "90d", "730d"))
            .refuses(periods("91d", "90d", "730d"))
            .refuses(periods("1h", "731d", "730d"))
            .refuses(periods("25h", "1d", "2d"))
            .refuses(periods("1d", "47h", "2819m"))
            .takes(periods("60m", "60m", "1h"))
            .takes(periods("24h", "1d", "1440m"))
            .takes_change(periods("1h", "90d", "730d"), periods("1d", "30d", "365d")),
    ]
}

fn immutable(path: &'static str, message: &'static str, before: &str, after: &str) -> Case {
    of(path, message).refuses_change(before, after)
}

fn buckets() -> Vec<Case> {
    let choice = "buckets.s3 needs exactly one of keyServer (each tenant's buckets under a key of its own) and \
        allowProviderManagedEncryption: true (the store's own key for all)";
    let fixed =
        "buckets.s3.keyServer cannot be added or removed: create a new TenantClass to change how buckets are encrypted";
    let s3 = |change: &dyn Fn(&mut Value)| {
        let mut s3 = at(&mut full("TenantClass"), S3).clone();
        change(&mut s3);
        s3
    };
    let without_server = |s3: &mut Value| drop(s3.as_object_mut().unwrap().remove("keyServer"));
    let with_server = s3(&|_| ());
    let both = s3(&|s3| s3["allowProviderManagedEncryption"] = json!(true));
    let neither = s3(&|s3| without_server(s3));
    let consent = s3(&|s3| {
        without_server(s3);
        s3["allowProviderManagedEncryption"] = json!(true);
    });
    vec![
        of("spec.buckets", "buckets must name where buckets are made: set buckets.s3").refuses(json!({})),
        of(S3, choice).refuses(both).refuses(neither).takes(consent.clone()),
        of(S3, fixed).refuses_change(with_server.clone(), consent.clone()).refuses_change(consent, with_server),
        of("spec.buckets.s3.keyServer", "keyServer must name its kind: set keyServer.kes").refuses(json!({})),
        immutable(
            "spec.buckets.s3.region",
            "buckets.s3.region is immutable: create a new object to use another",
            "site-a",
            "site-b",
        ),
        immutable(
            "spec.buckets.s3.endpoint",
            "buckets.s3.endpoint is immutable: create a new object to use another",
            "https://s3.example",
            "https://s3.evil",
        ),
        immutable(
            "spec.buckets.s3.keyServer.kes.endpoint",
            "keyServer.kes.endpoint is immutable: create a new object to use another",
            "https://kes.example",
            "https://kes.evil",
        ),
    ]
}

fn authorization() -> Vec<Case> {
    let there = at(&mut full("TenantClass"), "spec.authorization").clone();
    let removed = "authorization cannot be removed: Tenants have stores there; create a new TenantClass without it";
    let residency =
        "authorization.openfga.region must be one of residency.regions: who may do what is personal data too";
    let together = "authorization.openfga.accessControl goes with credentials.identityToken: a server with access control \
        takes no preshared key, and one without it lets every identity into every store";
    let one_way = "authorization.openfga.credentials needs exactly one of secret (a preshared key) and identityToken (a token \
        that OpenBao issues)";
    let kept = "authorization.openfga.accessControl can be added later, but not be removed or changed: what was entered there would \
        stay and count again; create a new TenantClass";
    let token = json!({ "identityToken": { "role": "openfga" } });
    let control = json!({ "storeID": "01JZ8Q5W3N8M4T6R2V9X7B1C0D" });
    vec![
        of("spec.authorization", "authorization must name where stores are made: set authorization.openfga")
            .refuses(json!({})),
        of("spec", removed)
            .refuses_change(there.clone(), Value::Null)
            .at("spec.authorization")
            .takes_change(Value::Null, there)
            .at("spec.authorization"),
        of("spec", residency).refuses("us-east-1").at("spec.authorization.openfga.region"),
        of(OPENFGA, together)
            .refuses(signing_in(&json!({ "secret": "openfga" }), &control))
            .refuses(signing_in(&token, &Value::Null))
            .takes(signing_in(&token, &control))
            .takes(signing_in(&json!({ "secret": "a" }), &Value::Null))
            .takes_change(
                signing_in(&json!({ "secret": "openfga-credentials" }), &Value::Null),
                signing_in(&token, &control),
            ),
        of(OPENFGA, kept)
            .refuses_change(signing_in(&token, &control), signing_in(&json!({ "secret": "openfga" }), &Value::Null))
            .refuses_change(
                signing_in(&token, &control),
                signing_in(&token, &json!({ "storeID": "7ZZZZZZZZZZZZZZZZZZZZZZZZZ" })),
            ),
        of("spec.authorization.openfga.credentials", one_way)
            .refuses(json!({}))
            .refuses(json!({ "secret": "openfga", "identityToken": { "role": "openfga" } })),
        of("spec.authorization.openfga.accessControl.storeID", STORE_ID)
            .refuses_all([
                "01jz8q5w3n8m4t6r2v9x7b1c0d",
                "81JZ8Q5W3N8M4T6R2V9X7B1C0D",
                "01JZ8Q5W3N8M4T6R2V9X7B1C0U",
                "01JZ8Q5W3N8M4T6R2V9X7B1C/D",
            ])
            .takes_all(["01JZ8Q5W3N8M4T6R2V9X7B1C0D", "7ZZZZZZZZZZZZZZZZZZZZZZZZZ"]),
        immutable(
            "spec.authorization.openfga.region",
            "authorization.openfga.region is immutable: create a new object to use another",
            "site-a",
            "site-b",
        ),
        immutable(
            "spec.authorization.openfga.endpoint",
            "authorization.openfga.endpoint is immutable: create a new object to use another",
            "https://openfga.example",
            "https://openfga.evil",
        ),
    ]
}

/// The OpenFGA server with these ways of signing in. Null is an absent field.
fn signing_in(credentials: &Value, access_control: &Value) -> Value {
    let mut openfga = at(&mut full("TenantClass"), OPENFGA).clone();
    for (field, value) in [("credentials", credentials), ("accessControl", access_control)] {
        set(&mut openfga, field, value.clone());
    }
    openfga
}

/// Rules that stand on several fields.
fn shared() -> Vec<Case> {
    let mut cases = Vec::new();
    for path in ["spec.keys.openbao.region", "spec.buckets.s3.region", "spec.authorization.openfga.region"] {
        cases.push(of(path, REGION).refuses_all(HOSTILE).refuses_all(["Site-A", "-a", "a-", "eu.central"]));
    }
    for path in [
        "spec.keys.openbao.address",
        "spec.buckets.s3.endpoint",
        "spec.buckets.s3.keyServer.kes.endpoint",
        "spec.authorization.openfga.endpoint",
    ] {
        cases.push(endpoint(path));
    }
    for path in [
        "spec.keys.openbao.caBundle",
        "spec.buckets.s3.caBundle",
        "spec.buckets.s3.keyServer.kes.caBundle",
        "spec.authorization.openfga.caBundle",
    ] {
        cases.push(bundle(path));
    }
    for path in ["spec.keys.openbao.mount", "spec.keys.openbao.namespace", "spec.keys.openbao.auth.mount"] {
        let case = of(path, PATH).refuses_all(HOSTILE).refuses_all(["/a", "a/", "a//b", "a.b", "a/../b", "\u{e4}"]);
        cases.push(case.takes_all(["a", "teams/platform", "kv_2/a-b"]));
    }
    for path in [
        "spec.keys.openbao.auth.role",
        "spec.keys.openbao.auth.audience",
        "spec.authorization.openfga.credentials.identityToken.role",
    ] {
        let refused = HOSTILE.into_iter().filter(|text| *text != "../a").fold(of(path, IDENTIFIER), Case::refuses);
        cases.push(refused.refuses_all(["../a", "-a", "a-", "a/", ":a"]).takes_all([
            "a",
            "steading",
            "https://a.b:8200/c_d",
        ]));
    }
    for path in [
        "spec.buckets.s3.credentials.secret",
        "spec.buckets.s3.keyServer.kes.credentials.secret",
        "spec.authorization.openfga.credentials.secret",
    ] {
        let case = of(path, SECRET).refuses_all(HOSTILE).refuses_all(["S3", "-a", "a-", "a.b", "other-namespace/s3"]);
        // Where it is one of two ways, the valid object has the other.
        let is_alone = path.starts_with("spec.buckets");
        cases.push(if is_alone { case.takes_all(["a", "s3-credentials"]) } else { case });
    }
    for path in ["default", "min", "max"].map(|name| match name {
        "default" => "spec.keys.openbao.rotationPeriod.default",
        "min" => "spec.keys.openbao.rotationPeriod.min",
        _ => "spec.keys.openbao.rotationPeriod.max",
    }) {
        cases.push(of(path, DURATION).refuses_all(["0d", "-1d", "1w", "1.5h", "90", "1D", "1d\n", "\u{661}d"]));
    }
    cases
}

fn endpoint(path: &'static str) -> Case {
    of(path, ENDPOINT)
        .refuses_all([
            "http://bao.example",
            "https://",
            "https:///",
            "bao.example:8200",
            "ftp://bao.example",
            "HTTPS://bao.example",
            "https://Bao.example",
            "https://user@bao.example",
            "https://user:word@bao.example",
            "https://bao.example/v1",
            "https://bao.example//",
            "https://bao.example?a=b",
            "https://bao.example#a",
            "https://bao.example:0",
            "https://bao.example:65536",
            "https://bao.example:99999",
            "https://bao.example:8200:1",
            "https://bao.example:port",
        ])
        .refuses_all([
            "https://bao example",
            "https://bao.example\n",
            "https://bao\u{0}.example",
            "https://b\u{430}o.example",
            "https://bao\u{202e}.example",
            "https://$(id).example",
            "https://a;b.example",
            "https://a'b.example",
            "https://a\"b.example",
            "https://{{a}}.example",
            "https://a%2fb.example",
            "https://-a.example",
            "https://[::1",
        ])
        .takes_all([
            "https://a.b",
            "https://bao.example/",
            "https://10.0.0.1:8200",
            "https://[fd00::1]:8200",
            "https://a:65535",
        ])
}

fn bundle(path: &'static str) -> Case {
    let certificate = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    of(path, BUNDLE)
        .refuses_all([
            "/etc/ssl/certs/ca-certificates.crt",
            "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0t",
            " -----BEGIN CERTIFICATE-----",
            "-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\n",
        ])
        .refuses(format!("{certificate}-----BEGIN EC PRIVATE KEY-----\nMIIE\n-----END EC PRIVATE KEY-----\n"))
        .takes(format!("{certificate}{certificate}"))
        .takes(Value::Null)
}
