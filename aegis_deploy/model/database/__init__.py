"""What is spoken of a release and its data: schemas, data sets, probes that read. Pure."""
