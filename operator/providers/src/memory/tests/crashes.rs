//! A whole life of a key and a bucket, cut off at every step.

use proptest::prelude::*;

use super::*;

/// Every operation that a life of a key and a bucket goes through, each cut off at each of its steps, in each of its first calls.
fn cuts() -> Vec<Injection> {
    use Operation::{
        CreateBucket, CreateKey, DeleteBucket, DeleteKey, ObserveBucket, ObserveKey, ReleaseBucket, ReleaseKey,
        UpdateBucket, UpdateKey,
    };
    let operations = [
        ObserveKey,
        CreateKey,
        UpdateKey,
        ReleaseKey,
        DeleteKey,
        ObserveBucket,
        CreateBucket,
        UpdateBucket,
        ReleaseBucket,
        DeleteBucket,
    ];
    let mut all = Vec::new();
    for operation in operations {
        for nth in 1..=3 {
            let cut = Injection::on(operation).nth(nth);
            all.push(cut.clone());
            all.push(cut.clone().after_commit());
            all.extend((1..=6).map(|steps| cut.clone().after_steps(steps)));
        }
    }
    all
}

/// Makes, rotates, releases, takes up again and deletes a key and a bucket beside a foreign bucket, whatever is injected.
async fn live_through(world: &World) {
    let (keys, buckets) = (keys(world), buckets(world));
    let neighbour = bucket_of(SALES);
    world.tamper_bucket(&neighbour.name(), |bucket| {
        bucket.tags.insert(tags::INSTALLATION.to_owned(), "another".to_owned());
        bucket.objects = 3;
    });
    let foreign = world.buckets()[&neighbour.name()].clone();
    let finance = bucket_of(FINANCE);

    let version_before = persist(async || ensure(&keys, &key()).await).await.latest_version;
    let rotated = KeySpec { rotate: Some(RotateOnce { request: "now".to_owned(), version_before }), ..key() };
    assert_eq!(persist(async || ensure(&keys, &rotated).await).await.latest_version, version_before + 1);
    let made = persist(async || ensure(&buckets, &finance).await).await;
    assert_eq!(drift(&finance, &made), []);
    assert_eq!((world.keys().len(), world.buckets().len(), world.bucket_keys().len()), (1, 2, 1));

    assert!(persist(async || ensure_released(&keys, &key()).await).await.unwrap().released);
    assert!(persist(async || ensure_released(&buckets, &finance).await).await.unwrap().released);
    assert!(!persist(async || ensure(&keys, &key()).await).await.released);
    assert!(!persist(async || ensure(&buckets, &finance).await).await.released);

    world.tamper_bucket(&finance.name(), |bucket| bucket.objects = 2_500);
    persist(async || ensure_gone(&buckets, &finance).await).await;
    persist(async || ensure_gone(&keys, &key()).await).await;
    assert_eq!(world.buckets(), BTreeMap::from([(neighbour.name(), foreign)]), "only ours went");
    assert!(!world.keys()[&key().name()].enabled, "the key is disabled, and still there");
}

#[tokio::test]
async fn cut_off_at_any_step_it_ends_with_exactly_one_thing_of_ours() {
    for cut in cuts() {
        let world = World::new();
        world.inject(cut.clone());
        tokio::spawn(async move { live_through(&world).await }).await.unwrap_or_else(|_| panic!("{cut:?}"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_handful_of_faults_heals(picked in proptest::sample::subsequence(cuts(), 1..6), lag in 0u32..4) {
        let world = World::new();
        world.lag(lag);
        for cut in picked {
            world.inject(cut);
        }
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(live_through(&world));
    }
}
