module slipway.dev/devcluster/node

go 1.26
