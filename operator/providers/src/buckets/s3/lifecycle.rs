//! Our lifecycle rules in a bucket, beside those of others.
//!
//! In: a [`BucketSpec`], and the rules that a store shows. Out: what they mean, and one rule of ours put, changed or taken away by a
//! single write that leaves the rules of others as they are. What a store refuses in one rule does not hold up another.

use aws_sdk_s3::types::{
    AbortIncompleteMultipartUpload, BucketLifecycleConfiguration, ExpirationStatus, LifecycleExpiration, LifecycleRule,
    LifecycleRuleFilter, NoncurrentVersionExpiration, Transition, TransitionStorageClass,
};
use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use aws_smithy_types::error::{metadata::ProvideErrorMetadata, operation::BuildError};

use super::{S3Buckets, repair::built_wrong};
use crate::{
    aws,
    buckets::{Archive, BucketSpec, Feature, LifecycleObserved, Told},
    fault::{Fault, reasons},
};

/// Days after which an unfinished upload is dropped.
const UPLOAD_EXPIRY_DAYS: i32 = 7;
/// What our account needs for every write here.
const RIGHT: &str = "s3:PutLifecycleConfiguration";
/// What is told of a rule without an id.
const NAMELESS: &str = "(without an id)";

/// One of our rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// Drops unfinished uploads.
    Uploads,
    /// Drops older versions, and delete markers below which nothing is left.
    Versions,
    /// Moves older objects to another class of storage.
    Archive,
}

/// Why a rule does not stand.
struct Refusal {
    /// Whether it is the rule itself that the store does not take.
    lacks: bool,
    /// The store's own words.
    said: String,
    fault: Fault,
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self { lacks: false, said: String::new(), fault }
    }
}

impl Rule {
    const ALL: [Self; 3] = [Self::Uploads, Self::Versions, Self::Archive];

    fn id(self) -> &'static str {
        match self {
            Self::Uploads => "steading-abort-uploads",
            Self::Versions => "steading-expire-versions",
            Self::Archive => "steading-archive",
        }
    }

    fn of(rule: &LifecycleRule) -> Option<Self> {
        Self::ALL.into_iter().find(|ours| rule.id.as_deref() == Some(ours.id()))
    }

    /// As it is to be; `None` if there is to be none.
    fn wanted(self, want: &BucketSpec) -> Result<Option<LifecycleRule>, BuildError> {
        let lifecycle = want.lifecycle.as_ref();
        match self {
            Self::Uploads => uploads().map(Some),
            Self::Versions => lifecycle.map(|wanted| versions(wanted.keep_deleted)).transpose(),
            Self::Archive => lifecycle.and_then(|wanted| wanted.archive.as_ref()).map(archive).transpose(),
        }
    }

    /// Whether it is among these as it is to be.
    fn stands(self, want: &BucketSpec, rules: &[LifecycleRule]) -> bool {
        let Some(wanted) = &want.lifecycle else { return self != Self::Uploads || drops_uploads(rules) };
        match self {
            Self::Uploads => drops_uploads(rules),
            Self::Versions => kept_deleted(rules) == Told::Says(wanted.keep_deleted),
            Self::Archive => archived(rules) == Told::of(wanted.archive.clone()),
        }
    }
}

impl S3Buckets {
    pub(super) async fn rules(&self, name: &str) -> Result<Vec<LifecycleRule>, Fault> {
        match self.client.get_bucket_lifecycle_configuration().bucket(name).send().await {
            Ok(found) => Ok(found.rules.unwrap_or_default()),
            Err(error) if aws::code(&error) == "NoSuchLifecycleConfiguration" => Ok(Vec::new()),
            Err(error) if aws::is_unsupported(&error) => {
                self.learn_lack(Feature::UploadExpiry);
                self.learn_lack(Feature::VersionExpiry);
                Ok(Vec::new())
            }
            Err(error) => Err(aws::fault(&error, &self.what(name), "s3:GetLifecycleConfiguration")),
        }
    }

    /// A store that refuses the rule, or takes it and forgets it, lacks the feature.
    pub(super) async fn put_or_do_without(&self, want: &BucketSpec, rule: Rule, feature: Feature) -> Result<(), Fault> {
        match self.put_rule(want, rule).await {
            Err(refusal) if refusal.lacks => {
                self.learn_lack(feature);
                Ok(())
            }
            other => other.map_err(|refusal| refusal.fault),
        }
    }

    /// Somebody asked for this class of storage, so it is no feature to do without.
    pub(super) async fn put_archive(&self, want: &BucketSpec) -> Result<(), Fault> {
        let Err(refusal) = self.put_rule(want, Rule::Archive).await else { return Ok(()) };
        let is_its_answer = refusal.lacks || refusal.fault.reason == reasons::PROVIDER_REFUSED;
        let what = self.what(&want.name());
        match want.lifecycle.as_ref().and_then(|wanted| wanted.archive.as_ref()) {
            _ if !is_its_answer => Err(refusal.fault),
            Some(Archive { after, storage_class }) => Err(Fault::stalled(
                reasons::STORAGE_CLASS_REFUSED,
                format!(
                    "{what}: the store does not move objects to storage class `{storage_class}` after {after} days ({}): set that class up at \
                     the store, or change or remove archive in the TenantClass; backups go on without it",
                    refusal.said
                ),
            )),
            None => Err(Fault::refused(format!(
                "{what}: the store keeps moving objects to another storage class ({}): remove its lifecycle rule `{}`",
                refusal.said,
                Rule::Archive.id()
            ))),
        }
    }

    /// Puts this rule as it is to be. Others of ours that are no longer as they are to be go with it: a store may refuse all
    /// for one that it does not take any more, and each is put again in its turn.
    async fn put_rule(&self, want: &BucketSpec, rule: Rule) -> Result<(), Refusal> {
        let name = want.name();
        let before = self.rules(&name).await?;
        let stays = |it: &LifecycleRule| Rule::of(it).is_none_or(|ours| ours != rule && ours.stands(want, &before));
        let mut rules: Vec<LifecycleRule> = before.iter().filter(|it| stays(it)).cloned().collect();
        rules.extend(rule.wanted(want).map_err(|error| built_wrong(&error))?);
        self.put_rules(&name, rules).await?;
        if rule.stands(want, &self.rules(&name).await?) {
            return Ok(());
        }
        let said = "it takes the rule and does not show it".to_owned();
        let fault = Fault::refused(format!("{}: lifecycle rule `{}`: {said}", self.what(&name), rule.id()));
        Err(Refusal { lacks: true, said, fault })
    }

    async fn put_rules(&self, name: &str, rules: Vec<LifecycleRule>) -> Result<(), Refusal> {
        if rules.is_empty() {
            // No store takes a configuration without a rule.
            let done = self.client.delete_bucket_lifecycle().bucket(name).send().await;
            return done.map(drop).map_err(|error| self.refusal(name, &error));
        }
        let configuration = BucketLifecycleConfiguration::builder().set_rules(Some(rules)).build();
        let configuration = configuration.map_err(|error| built_wrong(&error))?;
        let put = self.client.put_bucket_lifecycle_configuration().bucket(name).lifecycle_configuration(configuration);
        put.send().await.map(drop).map_err(|error| self.refusal(name, &error))
    }

    fn refusal<E>(&self, name: &str, error: &SdkError<E, HttpResponse>) -> Refusal
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        Refusal {
            lacks: aws::is_unsupported(error)
                || matches!(aws::code(error), "MalformedXML" | "InvalidRequest" | "InvalidArgument"),
            said: aws::said(error),
            fault: aws::fault(error, &self.what(name), RIGHT),
        }
    }
}

/// Whether a rule, ours or not, drops unfinished uploads in the whole bucket.
pub(super) fn drops_uploads(rules: &[LifecycleRule]) -> bool {
    rules.iter().any(|rule| {
        let abort = rule.abort_incomplete_multipart_upload.as_ref();
        let soon = abort.and_then(|abort| abort.days_after_initiation).is_some_and(|days| days <= UPLOAD_EXPIRY_DAYS);
        rule.status == ExpirationStatus::Enabled && covers_all(rule) && soon
    })
}

/// What these rules mean for a bucket that is to be as `want`.
pub(super) fn observed(want: &BucketSpec, rules: &[LifecycleRule]) -> LifecycleObserved {
    let Some(wanted) = &want.lifecycle else { return LifecycleObserved::default() };
    let theirs = rules.iter().filter(|rule| Rule::of(rule).is_none());
    let harmful = theirs.filter(|rule| harms(rule, wanted.keep_deleted));
    LifecycleObserved {
        keep_deleted: kept_deleted(rules),
        archive: archived(rules),
        harmful: harmful.map(|rule| rule.id.clone().unwrap_or_else(|| NAMELESS.to_owned())).collect(),
    }
}

fn kept_deleted(rules: &[LifecycleRule]) -> Told<u16> {
    told(Rule::Versions, rules, versions, |rule| {
        let days = rule.noncurrent_version_expiration.as_ref()?.noncurrent_days?;
        u16::try_from(days).ok()
    })
}

fn archived(rules: &[LifecycleRule]) -> Told<Archive> {
    told(
        Rule::Archive,
        rules,
        |it| archive(&it),
        |rule| {
            let transition = rule.transitions.as_ref()?.first()?;
            let after = u16::try_from(transition.days?).ok()?;
            Some(Archive { after, storage_class: transition.storage_class.as_ref()?.as_str().to_owned() })
        },
    )
}

/// What our rule says, if it is just as we would write it.
fn told<T: Clone>(
    ours: Rule,
    rules: &[LifecycleRule],
    written: impl Fn(T) -> Result<LifecycleRule, BuildError>,
    read: impl Fn(&LifecycleRule) -> Option<T>,
) -> Told<T> {
    let Some(found) = rules.iter().find(|rule| Rule::of(rule) == Some(ours)) else { return Told::Absent };
    let is_as_written = |it: &T| covers_all(found) && written(it.clone()).is_ok_and(|written| written == plain(found));
    read(found).filter(is_as_written).map_or(Told::Garbled, Told::Says)
}

/// Whether somebody else's rule removes or moves what is to be kept, wherever in the bucket: current objects at any age, older
/// versions too early.
fn harms(rule: &LifecycleRule, keep_deleted: u16) -> bool {
    let expires = rule.expiration.as_ref().is_some_and(|it| it.days.is_some() || it.date.is_some());
    let moves = rule.transitions.as_ref().is_some_and(|transitions| !transitions.is_empty());
    let drops_early = rule
        .noncurrent_version_expiration
        .as_ref()
        .is_some_and(|it| it.noncurrent_days.is_none_or(|days| days < i32::from(keep_deleted)));
    rule.status == ExpirationStatus::Enabled && (expires || moves || drops_early)
}

fn all() -> LifecycleRuleFilter {
    LifecycleRuleFilter::builder().prefix("").build()
}

/// The rule as we would write it, if it covers the whole bucket: stores write that in several ways.
#[expect(deprecated, reason = "some stores still write the prefix beside the filter")]
fn plain(rule: &LifecycleRule) -> LifecycleRule {
    let mut plain = rule.clone();
    plain.filter = Some(all());
    plain.prefix = None;
    plain
}

fn covers_all(rule: &LifecycleRule) -> bool {
    #[expect(deprecated, reason = "some stores still write the prefix beside the filter")]
    let beside = rule.prefix.as_deref().unwrap_or_default();
    let mut filter = rule.filter.clone().unwrap_or_else(all);
    let within = filter.prefix.replace(String::new()).unwrap_or_default();
    beside.is_empty() && within.is_empty() && filter == all()
}

fn uploads() -> Result<LifecycleRule, BuildError> {
    let abort = AbortIncompleteMultipartUpload::builder().days_after_initiation(UPLOAD_EXPIRY_DAYS).build();
    rule(Rule::Uploads).abort_incomplete_multipart_upload(abort).build()
}

fn versions(keep_deleted: u16) -> Result<LifecycleRule, BuildError> {
    let older = NoncurrentVersionExpiration::builder().noncurrent_days(i32::from(keep_deleted)).build();
    let markers = LifecycleExpiration::builder().expired_object_delete_marker(true).build();
    rule(Rule::Versions).noncurrent_version_expiration(older).expiration(markers).build()
}

fn archive(archive: &Archive) -> Result<LifecycleRule, BuildError> {
    let storage_class = TransitionStorageClass::from(archive.storage_class.as_str());
    let transition = Transition::builder().days(i32::from(archive.after)).storage_class(storage_class).build();
    rule(Rule::Archive).transitions(transition).build()
}

fn rule(ours: Rule) -> aws_sdk_s3::types::builders::LifecycleRuleBuilder {
    LifecycleRule::builder().id(ours.id()).status(ExpirationStatus::Enabled).filter(all())
}
