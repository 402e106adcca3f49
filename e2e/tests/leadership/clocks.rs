//! Replicas whose clocks are hours apart.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use e2e::install::OperatorProcess;
use e2e::nursery::Nursery;
use e2e::wait::until;
use e2e::{Installation, Plane, PlaneOptions, Tier};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use serde_json::json;

use super::{A_LEASE, LEADS, LEASE, leaders, says, signal, until_leaders_are};

/// Tells a process that it is `CLOCK_AHEAD` seconds later than it is. What only moves forward is left alone, as on a machine whose
/// clock was set wrong.
const WRONG_CLOCK: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>

int clock_gettime(clockid_t clock, struct timespec *time) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int status = real(clock, time);
    const char *ahead = getenv("CLOCK_AHEAD");
    if (status == 0 && clock == CLOCK_REALTIME && ahead) time->tv_sec += atol(ahead);
    return status;
}
"#;

fn wrong_clock(nursery: &Nursery) -> Result<PathBuf> {
    let source = nursery.write("clock.c", WRONG_CLOCK)?;
    let library = nursery.directory().join("clock.so");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source).arg("-ldl");
    ensure!(compiler.status()?.success(), "the C compiler refused the wrong clock");
    Ok(library)
}

async fn lease(leases: &Api<Lease>) -> Result<(String, i32, i64)> {
    let spec = leases.get(LEASE).await?.spec.context("spec")?;
    let renewed = spec.renew_time.context("renewTime")?.0.as_second();
    Ok((spec.holder_identity.unwrap_or_default(), spec.lease_transitions.unwrap_or_default(), renewed))
}

#[tokio::test]
async fn clocks_that_are_hours_apart_change_no_leader_and_hold_up_no_takeover() -> Result<()> {
    let plane = Plane::start(Tier::One, PlaneOptions::default()).await?;
    let installation = Installation::install(&plane, "story", &json!({})).await?;
    let nursery = Nursery::new("clock")?;
    let library = wrong_clock(&nursery)?;
    let of = |ahead: &str| [("LD_PRELOAD", library.display().to_string()), ("CLOCK_AHEAD", ahead.to_owned())];
    let ahead = OperatorProcess::start_with(&plane, &installation, of("3600")).await?;
    let behind = OperatorProcess::start_with(&plane, &installation, of("-3600")).await?;
    let both = [ahead.http_url(), behind.http_url()];
    until_leaders_are(&both, &[true, false], "the replica that is ahead leads").await?;
    let leases: Api<Lease> = Api::namespaced(plane.admin()?, "steading-system");
    let (holder, transitions, first) = lease(&leases).await?;
    let now = k8s_openapi::jiff::Timestamp::now().as_second();
    ensure!((3500..3700).contains(&(first - now)), "the leader's clock is not an hour ahead: {}", first - now);

    // Longer than a Lease is believed: whoever compared clocks would have taken it, or let it go, by now.
    until("it was renewed for longer than it lasts", A_LEASE * 2, async || {
        ensure!(leaders(&both).await? == [true, false], "leadership changed");
        Ok(lease(&leases).await?.2 > first + 16)
    })
    .await?;
    let (still, since, _) = lease(&leases).await?;
    ensure!((&still, since) == (&holder, transitions), "the Lease changed hands");

    // Dead without a word, so its Lease says for another hour that it was renewed just now.
    signal(&ahead, "-KILL")?;
    until("the replica that is behind leads", A_LEASE, async || says(&behind.http_url(), LEADS).await).await?;
    let (_, since, renewed) = lease(&leases).await?;
    ensure!(since == transitions + 1, "{since} transitions, {transitions} before");
    ensure!(renewed < first - 7000, "it was not renewed by the clock that is behind");

    // The one that is ahead comes back, and leaves the other alone.
    let ahead = OperatorProcess::start_with(&plane, &installation, of("3600")).await?;
    let both = [ahead.http_url(), behind.http_url()];
    until("the Lease was renewed for longer than it lasts", A_LEASE * 2, async || {
        ensure!(leaders(&both).await? == [false, true], "leadership changed");
        Ok(lease(&leases).await?.2 > renewed + 16)
    })
    .await
}
