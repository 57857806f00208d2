// Mail as data, for a process that is saved with what lies in its mailbox.

import { MoonmeshError } from '../base/errors.ts'
import { ErrorValue, Float, record, TableValue, type Value } from '../base/value.ts'
import type { Envelope, LifecycleEvent, Outcome } from '../services.ts'

export type Mail = Envelope | LifecycleEvent

export function writeMail(mail: Mail): Value {
  if (!('kind' in mail)) {
    const { topic, from, values, arrival } = mail
    return record({ topic, from, values: new TableValue([...values]), arrival })
  }
  const { kind, atMs } = mail
  if (kind === 'cancel') return record({ kind, at: new Float(atMs), from: mail.from, reason: mail.reason })
  if (kind === 'outdated') return record({ kind, at: new Float(atMs), sources: new TableValue([...mail.sources]) })
  const { from, outcome } = mail
  return record({
    kind,
    at: new Float(atMs),
    from,
    ...(outcome.ok ? { value: outcome.value } : { error: outcome.error }),
  })
}

/** @throws MoonmeshError `Invalid` */
export function readMail(value: Value): Mail {
  if (!(value instanceof TableValue)) throw malformed()
  const kind = value.get('kind')
  const from = value.get('from')
  if (kind === undefined) return readEnvelope(value)
  const at = value.get('at')
  const atMs = at instanceof Float ? at.value : at
  if (typeof atMs !== 'number' || !Number.isFinite(atMs)) throw malformed()
  if (kind === 'outdated') return { kind, atMs, sources: texts(value.get('sources')), isRead: false }
  if (typeof from !== 'string') throw malformed()
  if (kind === 'cancel') {
    const reason = value.get('reason')
    if (typeof reason !== 'string') throw malformed()
    return { kind, atMs, from, reason }
  }
  if (kind !== 'exit' && kind !== 'link-down') throw malformed()
  const error = value.get('error')
  if (error !== undefined && !(error instanceof ErrorValue)) throw malformed()
  const outcome: Outcome = error === undefined ? { ok: true, value: value.get('value') } : { ok: false, error }
  return { kind, atMs, from, outcome }
}

function readEnvelope(value: TableValue): Envelope {
  const [topic, from, values, arrival] = ['topic', 'from', 'values', 'arrival'].map((key) => value.get(key))
  if (typeof topic !== 'string' || typeof from !== 'string' || !(values instanceof TableValue)) throw malformed()
  const place = typeof arrival === 'number' ? { arrival } : {}
  return { topic, from, values: values.array, ...place }
}

function texts(list: Value): string[] {
  const items = list instanceof TableValue ? list.array : []
  return items.filter((item) => typeof item === 'string')
}

const malformed = (): MoonmeshError =>
  new MoonmeshError('Invalid', 'the document is damaged: it holds no message where one should be', { retryable: false })
