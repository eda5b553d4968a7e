CREATE TABLE events (
    id BIGSERIAL NOT NULL,
    job_id VARCHAR(64) NOT NULL,
    type VARCHAR(16) NOT NULL,
    data JSON NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (id)
);
CREATE INDEX events_by_job ON events (job_id, id);
CREATE TABLE images (
    id VARCHAR(64) NOT NULL,
    job_id VARCHAR(64) NOT NULL,
    index INTEGER NOT NULL,
    latent_id VARCHAR(64) NOT NULL,
    seed BIGINT NOT NULL,
    decoder_seed BIGINT NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    format VARCHAR(8) NOT NULL,
    size_bytes BIGINT,
    seconds FLOAT,
    ready_at TIMESTAMP WITH TIME ZONE,
    deleted_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (id)
);
CREATE INDEX images_by_job ON images (job_id, index);
CREATE INDEX images_by_latent ON images (latent_id);
CREATE TABLE jobs (
    id VARCHAR(64) NOT NULL,
    kind VARCHAR(32) NOT NULL,
    state VARCHAR(16) NOT NULL,
    stage VARCHAR(8),
    step INTEGER,
    steps INTEGER,
    image_index INTEGER,
    request JSON NOT NULL,
    client_state JSON,
    "user" VARCHAR(128),
    warnings JSON NOT NULL,
    error JSON,
    c_s FLOAT NOT NULL,
    b_s FLOAT NOT NULL,
    a_s FLOAT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE,
    finished_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (id)
);
CREATE INDEX jobs_by_state ON jobs (state, kind, id);
CREATE INDEX jobs_by_user ON jobs ("user", id);
CREATE TABLE latents (
    id VARCHAR(64) NOT NULL,
    job_id VARCHAR(64) NOT NULL,
    index INTEGER NOT NULL,
    model_id VARCHAR(256) NOT NULL,
    model_revision VARCHAR(128) NOT NULL,
    model_fingerprint VARCHAR(256) NOT NULL,
    request JSON NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    deleted_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (id)
);
