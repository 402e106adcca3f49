module steading.dev/e2e/modules/packets

go 1.26.0
