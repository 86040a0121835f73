"""The API's habits, the same for every resource: strict input, filters, sparse fields, safe repeats, ETags."""
