//! Tests of the configuration.

use super::*;

fn parse(text: &str) -> Result<IndexConfig, String> {
    parse_with(text, &Overrides::default())
}

fn parse_with(text: &str, overrides: &Overrides) -> Result<IndexConfig, String> {
    IndexConfig::parse(Path::new("catalens.toml"), Path::new("/shop"), text, overrides).map_err(|error| {
        let mut message = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            message = format!("{message}: {cause}");
            source = cause.source();
        }
        message
    })
}

const SMALLEST: &str = "[store]\npath = 'store'\n[catalog]\npath = 'items.jsonl'\n";

#[test]
fn the_smallest_file_takes_every_default() -> Result<(), String> {
    let config = parse(SMALLEST)?;
    assert_eq!(config.store, Path::new("/shop/store"));
    assert_eq!(config.catalog.path, Path::new("/shop/items.jsonl"));
    assert_eq!(config.catalog.id_column, "id");
    assert_eq!(config.catalog.image_column.as_deref(), Some("image"));
    assert_eq!(config.encoders, []);
    assert_eq!(config.encode.partitions, DEFAULT_PARTITIONS);
    assert_eq!(config.gates.min_ann_recall, DEFAULT_MIN_ANN_RECALL);
    assert_eq!(config.gates.max_item_drop, DEFAULT_MAX_ITEM_DROP);
    assert_eq!(config.metrics, None);
    assert_eq!(config.graph.scalar, DEFAULT_SCALAR_KIND);
    assert_eq!(config.keyword.fields.len(), 2);
    Ok(())
}

#[test]
fn weights_of_modalities_sum_to_one() -> Result<(), String> {
    let text = format!("{SMALLEST}[encoders.title]\nmodel = 'm'\nweight = 3\n[encoders.image]\nhub = 'a/b'\n");
    let config = parse(&text)?;
    let weights: Vec<_> = config.encoders.iter().map(|encoder| (encoder.modality, encoder.weight)).collect();
    assert_eq!(weights, [(Modality::Title, 0.75), (Modality::Image, 0.25)]);
    assert_eq!(config.encoders[0].source, CheckpointSource::Folder("/shop/m".into()));
    let hub = CheckpointSource::Hub { id: "a/b".to_owned(), revision: DEFAULT_REVISION.to_owned() };
    assert_eq!(config.encoders[1].source, hub);
    Ok(())
}

#[test]
fn flags_take_the_place_of_keys() -> Result<(), String> {
    let overrides = Overrides {
        store: Some("here".into()),
        catalog: Some("other.csv".into()),
        metrics: Some("catalens.prom".into()),
        set: vec![("encode.device".into(), "cpu".into()), ("gates.min_items".into(), "7".into())],
    };
    let config = parse_with(SMALLEST, &overrides)?;
    assert_eq!(config.store, Path::new("here"));
    assert_eq!(config.catalog.path, Path::new("other.csv"));
    assert_eq!(config.encode.device, DeviceChoice::Cpu);
    assert_eq!(config.gates.min_items, 7);
    assert_eq!(config.metrics.as_deref(), Some(Path::new("catalens.prom")));
    let metrics = parse(&format!("{SMALLEST}[metrics]\npath = 'catalens.prom'\n"))?.metrics;
    assert_eq!(metrics.as_deref(), Some(Path::new("/shop/catalens.prom")));
    Ok(())
}

#[test]
fn searched_fields_join_the_keyword_index() -> Result<(), String> {
    let text = format!("{SMALLEST}[catalog.fields.brand]\ntype = 'string'\nsearched = true\nweight = 2.0\n");
    let config = parse(&text)?;
    let brand = &config.keyword.fields[2];
    assert_eq!((brand.name.as_str(), brand.weight), ("brand", 2.0));
    assert!(config.catalog.fields[0].spec.searched);
    Ok(())
}

#[test]
fn what_does_not_fit_is_named() {
    let wrong = [
        ("[catalog]\npath = 'a'\n", "store.path"),
        ("[store]\npath = 's'\n[catalog]\n", "catalog.path"),
        ("[gates]\nmin_itmes = 3\n", "min_itmes"),
        ("[gates]\nmin_ann_recall = 1.5\n", "gates.min_ann_recall"),
        ("[gates]\nmax_item_drop = -0.1\n", "gates.max_item_drop"),
        ("[gates]\nmax_item_growth = inf\n", "gates.max_item_growth"),
        ("[gates]\nmax_missing_images = nan\n", "gates.max_missing_images"),
        ("[metrics]\nfile = 'x'\n", "file"),
        ("[encoders.video]\nmodel = 'm'\n", "encoders.video"),
        ("[encoders.title]\n", "encoders.title"),
        ("[encoders.title]\nmodel = 'm'\nrevision = 'r'\n", "encoders.title.revision"),
        ("[encoders.title]\nmodel = 'm'\nweight = 0\n", "encoders.title.weight"),
        ("[encode]\npartitions = 0\n", "encode.partitions"),
        ("[encode]\ndevice = 'abacus'\n", "encode.device"),
        ("[vector]\nscalar = 'i4'\n", "unknown variant `i4`, expected `f16` or `i8`"),
        ("[vector]\nconnectivity = 1\n", "vector.connectivity"),
        ("[rank_fusion]\nalpha = 2.0\n", "rank_fusion.alpha"),
        ("[rank_fusion]\nmethod = 'magic'\n", "magic"),
        ("[catalog.fields.price]\ntype = 'float'\nsearched = true\n", "catalog.fields.price"),
        ("[catalog.fields.title]\ntype = 'string'\n", "catalog.fields.title"),
        ("[catalog.fields.price]\ntype = 'money'\n", "money"),
    ];
    for (text, expected) in wrong {
        let text = if text.starts_with("[catalog]") || text.starts_with("[store]") {
            text.to_owned()
        } else {
            format!("{SMALLEST}{text}")
        };
        let message = parse(&text).expect_err(&text);
        assert!(message.contains(expected), "`{message}` does not name `{expected}`");
    }
}

#[test]
fn learned_embedding_fusion_has_a_model_and_the_others_have_none() -> Result<(), String> {
    let section = |lines: &str| format!("{SMALLEST}[embedding_fusion]\n{lines}\n");
    let config = parse(&section("kind = 'learned'\nmodel = 'fusion.safetensors'"))?;
    assert_eq!(config.embedding_fusion, EmbeddingFusionKind::Learned);
    assert_eq!(config.embedding_fusion_model.as_deref(), Some(Path::new("/shop/fusion.safetensors")));
    assert_eq!(parse(SMALLEST)?.embedding_fusion_model, None);
    for (lines, word) in [("kind = 'learned'", "missing"), ("model = 'fusion.safetensors'", "only")] {
        let refused = parse(&section(lines));
        assert!(refused.is_err_and(|reason| reason.contains("`embedding_fusion.model`") && reason.contains(word)));
    }
    Ok(())
}
