"""Where files can come from: one module for each kind of server, all with the same interface (`base.Source`)."""
