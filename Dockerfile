# One image for all processes; the default is web. The others: `python -m workers apply | deliver | clock`, and
# `alembic upgrade head` before a new version starts.
FROM python:3.13-slim

ENV PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1

WORKDIR /app

COPY requirements.txt ./
RUN pip install --require-hashes -r requirements.txt

COPY alembic.ini gunicorn.conf.py wsgi.py ./
COPY migrations migrations
COPY service service
COPY workers workers
RUN python -m compileall -q . && useradd --system --no-create-home pbx

USER pbx
EXPOSE 8000
CMD ["gunicorn", "wsgi:app"]
