def draw(tables, facts, folder): pass
