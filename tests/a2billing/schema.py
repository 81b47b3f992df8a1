"""A2Billing's tables, as its own schema has them where we look; and the older PostgreSQL variant of the same."""

from __future__ import annotations

MYSQL = """
CREATE TABLE cc_card_group (
    id int NOT NULL AUTO_INCREMENT, name char(30) COLLATE utf8_bin NOT NULL, description mediumtext COLLATE utf8_bin,
    users_perms int NOT NULL DEFAULT 0, id_agent int DEFAULT NULL, PRIMARY KEY (id)
) ENGINE=MyISAM DEFAULT CHARSET=utf8 COLLATE=utf8_bin;
CREATE TABLE cc_card (
    id bigint NOT NULL AUTO_INCREMENT,
    creationdate timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
    firstusedate timestamp NOT NULL DEFAULT '0000-00-00 00:00:00',
    expirationdate timestamp NOT NULL DEFAULT '0000-00-00 00:00:00',
    enableexpire int DEFAULT 0, expiredays int DEFAULT 0,
    username varchar(50) COLLATE utf8_bin NOT NULL, useralias varchar(50) COLLATE utf8_bin NOT NULL,
    uipass varchar(50) COLLATE utf8_bin NOT NULL DEFAULT '',
    credit decimal(15,5) NOT NULL DEFAULT 0, tariff int DEFAULT 0,
    activated char(1) COLLATE utf8_bin NOT NULL DEFAULT 'f', status int NOT NULL DEFAULT 1,
    lastuse timestamp NOT NULL DEFAULT '0000-00-00 00:00:00',
    typepaid int DEFAULT 0, creditlimit int DEFAULT 0, credit_notification int NOT NULL DEFAULT -1,
    id_group int NOT NULL DEFAULT 1,
    PRIMARY KEY (id), UNIQUE KEY cons_cc_card_username (username), UNIQUE KEY cons_cc_card_useralias (useralias)
) ENGINE=MyISAM DEFAULT CHARSET=utf8 COLLATE=utf8_bin;
CREATE TABLE cc_callerid (
    id bigint NOT NULL AUTO_INCREMENT, cid varchar(150) COLLATE utf8_bin NOT NULL, id_cc_card bigint NOT NULL,
    activated char(1) COLLATE utf8_bin NOT NULL DEFAULT 't', PRIMARY KEY (id), UNIQUE KEY cons_cc_callerid_cid (cid)
) ENGINE=MyISAM DEFAULT CHARSET=utf8 COLLATE=utf8_bin;
CREATE TABLE cc_call (
    id bigint NOT NULL AUTO_INCREMENT, sessionid varchar(40) COLLATE utf8_bin NOT NULL DEFAULT '',
    uniqueid varchar(30) COLLATE utf8_bin NOT NULL DEFAULT '', card_id bigint NOT NULL,
    starttime timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP, stoptime timestamp NOT NULL DEFAULT '0000-00-00 00:00:00',
    sessiontime int DEFAULT NULL, calledstation varchar(100) COLLATE utf8_bin NOT NULL DEFAULT '',
    sessionbill float DEFAULT NULL, src varchar(40) COLLATE utf8_bin NOT NULL DEFAULT '',
    real_sessiontime int DEFAULT NULL, terminatecauseid int DEFAULT 1, destination int DEFAULT 0,
    PRIMARY KEY (id), KEY starttime (starttime)
) ENGINE=InnoDB DEFAULT CHARSET=utf8 COLLATE=utf8_bin;
CREATE TABLE cc_logrefill (
    id bigint NOT NULL AUTO_INCREMENT, date timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
    credit decimal(15,5) NOT NULL, card_id bigint NOT NULL, description mediumtext COLLATE utf8_bin,
    refill_type tinyint NOT NULL DEFAULT 0, added_invoice tinyint NOT NULL DEFAULT 0, PRIMARY KEY (id)
) ENGINE=MyISAM DEFAULT CHARSET=utf8 COLLATE=utf8_bin
"""

POSTGRES = """
CREATE TABLE cc_card_group (
    id serial PRIMARY KEY, name varchar(30) NOT NULL, description text, users_perms int NOT NULL DEFAULT 0, id_agent int
);
CREATE TABLE cc_card (
    id bigserial PRIMARY KEY,
    creationdate timestamp DEFAULT now(), firstusedate timestamp, expirationdate timestamp,
    enableexpire int DEFAULT 0, expiredays int DEFAULT 0, username text UNIQUE NOT NULL, useralias text UNIQUE NOT NULL,
    uipass text, credit numeric(12,4) NOT NULL, tariff int DEFAULT 0, activated boolean DEFAULT false NOT NULL,
    lastuse date DEFAULT now(), typepaid int DEFAULT 0, creditlimit int DEFAULT 0, status int NOT NULL DEFAULT 1,
    credit_notification int NOT NULL DEFAULT -1, id_group int NOT NULL DEFAULT 1
);
CREATE TABLE cc_callerid (
    id bigserial PRIMARY KEY, cid text UNIQUE NOT NULL, id_cc_card bigint NOT NULL,
    activated boolean DEFAULT true NOT NULL
);
CREATE TABLE cc_call (
    id bigserial PRIMARY KEY, card_id bigint NOT NULL, sessionid text NOT NULL DEFAULT '', uniqueid text NOT NULL,
    starttime timestamp, stoptime timestamp, sessiontime int, calledstation text, destination int DEFAULT 0,
    terminatecauseid smallint DEFAULT 1, sessionbill double precision, src text, real_sessiontime int
);
CREATE TABLE cc_logrefill (
    id bigserial PRIMARY KEY, date timestamp(0) DEFAULT now() NOT NULL, credit decimal(15,5) NOT NULL,
    card_id bigint NOT NULL, description text, refill_type smallint NOT NULL DEFAULT 0,
    added_invoice smallint NOT NULL DEFAULT 0
)
"""
