"""The migrations of the catalog's tables, which `kladml_backends_local.catalog.schema` runs."""
