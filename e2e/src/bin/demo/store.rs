//! An identity that can use one bucket. In: the stacks. Out: under which key it really writes, and what it is refused.

use anyhow::{Context as _, Result, bail};
use aws_credential_types::Credentials;
use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::ServerSideEncryption;
use e2e::servers::Minio;
use providers::identities::SHORTEST_LIFE;
use providers::{Access, IdentitySpec, Purpose};

use crate::objects::{CUSTOMER, OTHER_CUSTOMER, Stack, Stacks};
use crate::scene::Scene;
use crate::show::Show;

/// The object that is written into each bucket.
const OBJECT: &str = "report.txt";
/// What stands in it.
const CONTENT: &[u8] = b"the content of a report";
/// The store's code for a refusal.
const DENIED: &str = "AccessDenied";

/// An object that must survive.
pub(crate) struct Note {
    client: Client,
    bucket: String,
}

impl Note {
    /// Whether it still reads as it was written.
    pub(crate) async fn is_readable(&self) -> Result<bool> {
        let answer = self.client.get_object().bucket(&self.bucket).key(OBJECT).send().await;
        let body = answer.with_context(|| format!("cannot read {OBJECT} in bucket {}", self.bucket))?.body;
        Ok(body.collect().await.context("the object ended early")?.into_bytes().as_ref() == CONTENT)
    }
}

/// Objects that were written by identities of their own buckets.
pub(crate) struct Notes {
    pub(crate) finance: Note,
    pub(crate) sales: Note,
}

/// Issues an identity for one bucket and tries what it can do.
pub(crate) async fn one_bucket(show: &Show, scene: &Scene, stacks: &Stacks) -> Result<Notes> {
    show.step("bucket", "An identity that can use one bucket, under one key, by TLS");
    let store = Store::of(scene);
    let finance = store.identity(&stacks.finance, CUSTOMER).await?;
    show.say(
        "The store's STS issues it for 15 minutes, as Steading's own code asks: no kind of this version hands it out yet.",
    );
    writes_get_the_key_of_the_bucket(show, &finance, &stacks.finance).await?;
    // Something to reach for must be there, or a refusal would prove nothing.
    let research = store.identity(&stacks.research, CUSTOMER).await?;
    let sales = store.identity(&stacks.sales, OTHER_CUSTOMER).await?;
    written(&research, &stacks.research).await?;
    let key = written(&sales, &stacks.sales).await?;
    show.check(
        &format!("{OTHER_CUSTOMER}'s object lies under another key: {key}"),
        key == stacks.sales.key && key != stacks.finance.key,
    );
    show.say("What the identity for finance is refused:");
    other_encryption(show, &finance, stacks).await;
    other_buckets(show, &finance, stacks).await?;
    own_bucket(show, &finance, &stacks.finance).await;
    plain_text(show, &store, stacks).await?;
    let note = |client, stack: &Stack| Note { client, bucket: stack.bucket.clone() };
    Ok(Notes { finance: note(finance, &stacks.finance), sales: note(sales, &stacks.sales) })
}

/// The store, and the issuer of identities there.
struct Store<'a> {
    scene: &'a Scene,
    endpoint: String,
}

impl<'a> Store<'a> {
    fn of(scene: &'a Scene) -> Self {
        Self { scene, endpoint: scene.servers.minio.endpoint() }
    }

    /// A client with a new identity for the bucket of this stack.
    async fn identity(&self, stack: &Stack, customer: &str) -> Result<Client> {
        self.client(&self.endpoint, self.issued(stack, customer).await?)
    }

    /// With the operator's account at the store and the operator's own code.
    async fn issued(&self, stack: &Stack, customer: &str) -> Result<Credentials> {
        let spec = IdentitySpec {
            bucket: stack.bucket.clone(),
            purpose: Purpose::Data,
            key_name: Some(stack.key.clone()),
            access: Access::ReadWrite,
            session_name: format!("{}@{customer}", stack.workspace),
            life: SHORTEST_LIFE,
            revocable_as: None,
        };
        self.scene.servers.issue(&self.scene.plane, &spec).await
    }

    fn client(&self, endpoint: &str, credentials: Credentials) -> Result<Client> {
        Minio::client(self.scene.plane.authority(), endpoint, credentials)
    }
}

async fn writes_get_the_key_of_the_bucket(show: &Show, client: &Client, stack: &Stack) -> Result<()> {
    let key = written(client, stack).await?;
    show.check(&format!("an object written without asking for a key got {key} (HeadObject)"), key == stack.key);
    let named = put(client, stack).server_side_encryption(ServerSideEncryption::AwsKms).ssekms_key_id(&stack.key);
    show.check("it may name that key itself", outcome(named.send().await) == Outcome::Allowed);
    Ok(())
}

/// Writes the object, asking for no encryption, and returns the key under which it then lies.
async fn written(client: &Client, stack: &Stack) -> Result<String> {
    let what = || format!("cannot write {OBJECT} into bucket {}", stack.bucket);
    put(client, stack).send().await.with_context(what)?;
    let head = client.head_object().bucket(&stack.bucket).key(OBJECT).send().await.with_context(what)?;
    let key = head.ssekms_key_id().with_context(|| format!("{OBJECT} lies under no key of the key server"))?;
    // The store names its keys like those of AWS.
    Ok(key.strip_prefix("arn:aws:kms:").unwrap_or(key).to_owned())
}

fn put(client: &Client, stack: &Stack) -> PutObjectFluentBuilder {
    client.put_object().bucket(&stack.bucket).key(OBJECT).body(ByteStream::from_static(CONTENT))
}

async fn other_encryption(show: &Show, client: &Client, stacks: &Stacks) {
    let other_key = put(client, &stacks.finance)
        .server_side_encryption(ServerSideEncryption::AwsKms)
        .ssekms_key_id(&stacks.sales.key);
    refused(show, "write under the key of globex", outcome(other_key.send().await));
    let stores_own = put(client, &stacks.finance).server_side_encryption(ServerSideEncryption::Aes256);
    refused(show, "write under the store's own key (header AES256)", outcome(stores_own.send().await));
}

async fn other_buckets(show: &Show, client: &Client, stacks: &Stacks) -> Result<()> {
    for (stack, whose) in [(&stacks.research, "research's bucket"), (&stacks.sales, "globex's bucket")] {
        refused(show, &format!("write into {whose}"), outcome(put(client, stack).send().await));
        let get = client.get_object().bucket(&stack.bucket).key(OBJECT);
        refused(show, &format!("read from {whose}"), outcome(get.send().await));
        let list = client.list_objects_v2().bucket(&stack.bucket);
        refused(show, &format!("list {whose}"), outcome(list.send().await));
    }
    match client.list_buckets().send().await {
        Err(error) => refused(show, "list all buckets", outcome(Err::<(), _>(error))),
        Ok(answer) => {
            let names: Vec<&str> = answer.buckets().iter().filter_map(|bucket| bucket.name()).collect();
            show.check(
                "list all buckets: sees its own at most",
                names.iter().all(|name| *name == stacks.finance.bucket),
            );
        }
    }
    Ok(())
}

async fn own_bucket(show: &Show, client: &Client, stack: &Stack) {
    let encryption = client.delete_bucket_encryption().bucket(&stack.bucket);
    refused(show, "take away its bucket's encryption", outcome(encryption.send().await));
    let policy = client.delete_bucket_policy().bucket(&stack.bucket);
    refused(show, "take away its bucket's policy", outcome(policy.send().await));
}

/// The store has no listener without TLS, so this is refused before any policy is asked.
async fn plain_text(show: &Show, store: &Store<'_>, stacks: &Stacks) -> Result<()> {
    let credentials = store.issued(&stacks.finance, CUSTOMER).await?;
    let endpoint = store.endpoint.replacen("https:", "http:", 1);
    let client = store.client(&endpoint, credentials)?;
    let claim = "write without TLS";
    match outcome(put(&client, &stacks.finance).send().await) {
        Outcome::Allowed => show.check(&format!("{claim}: it went through"), false),
        // Not by the session's policy, though that denies it as well: so no code of S3.
        Outcome::Refused { status, .. } => {
            show.check(&format!("{claim}: HTTP {status} (the store listens for TLS only)"), status == 400);
        }
        Outcome::NoAnswer(why) => bail!("{claim}: the store gave no answer: {why}"),
    }
    Ok(())
}

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Allowed,
    Refused { code: String, status: u16 },
    NoAnswer(String),
}

pub(crate) fn outcome<T, E>(answer: Result<T, SdkError<E>>) -> Outcome
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let Err(error) = answer else { return Outcome::Allowed };
    match error.raw_response().map(|response| response.status().as_u16()) {
        None => Outcome::NoAnswer(format!("{:#}", anyhow::Error::new(error))),
        Some(status) => Outcome::Refused { code: error.code().unwrap_or_default().to_owned(), status },
    }
}

/// A claim that the store's policies refuse something; any other failure proves nothing.
pub(crate) fn refused(show: &Show, what: &str, outcome: Outcome) {
    match outcome {
        Outcome::Allowed => show.check(&format!("{what}: it went through"), false),
        Outcome::NoAnswer(why) => show.check(&format!("{what}: no answer: {why}"), false),
        Outcome::Refused { code, status } => show.check(&format!("{what}: {code} ({status})"), code == DENIED),
    }
}
