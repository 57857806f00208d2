// What types are made of, for those who compare them: the fields of anything that is a record in the end.

import type { RecordField } from '../../runtime/base/type-node.ts'
import type { Type } from './type.ts'

interface Field extends Omit<RecordField, 'type'> {
  readonly type: Type
}

const LEVELS_MAX = 100

/** The fields of a record, or of all records of an intersection; a later field replaces one of the same name. */
export function fieldsOf(type: Type): Map<string, Field> {
  const fields = new Map<string, Field>()
  collect(type, fields, 0)
  return fields
}

function collect(type: Type, fields: Map<string, Field>, level: number): void {
  if (level > LEVELS_MAX) return
  const { head } = type
  const { node } = head
  if (node.kind === 'checked' || node.kind === 'optional') collect(head.part(node.of), fields, level + 1)
  else if (node.kind === 'intersection') for (const part of node.of) collect(head.part(part), fields, level + 1)
  else if (node.kind === 'record') {
    for (const field of node.fields) fields.set(field.name, { ...field, type: head.part(field.type) })
  }
}
