//! The settings file that `ranking` names, as `searcher tune` writes it. Owns which of its keys stands in for which key of the
//! configuration. Invariants: a key that the configuration itself has comes first; a field or modality that the
//! configuration does not have is an error, not passed over.

use schemas::ranking::{FieldSettings, RankingSettings};

use super::*;

/// Puts the file's values where the configuration says nothing.
pub(super) fn fill(file: &mut ConfigFile, path: &Path) -> Result<(), IndexError> {
    let RankingSettings { keyword, rank_fusion, modality_weights } = RankingSettings::read(path)?;
    let refuse = |key: String, there_are: String| {
        Err(value("ranking", &format!("`{key}` of `{}` does not fit; there are {there_are}", path.display())))
    };
    file.keyword.k1 = file.keyword.k1.or(keyword.k1);
    file.keyword.matching = file.keyword.matching.or(keyword.matching);
    file.keyword.proximity = file.keyword.proximity.or(keyword.proximity);
    for (name, FieldSettings { weight, b }) in keyword.fields {
        let (own_weight, own_b) = match (name.as_str(), file.catalog.fields.get_mut(&name)) {
            ("title", _) => (&mut file.keyword.title.weight, &mut file.keyword.title.b),
            ("description", _) => (&mut file.keyword.description.weight, &mut file.keyword.description.b),
            (_, Some(field)) if field.searched => (&mut field.weight, &mut field.b),
            (_, Some(_) | None) => {
                let searched = file.catalog.fields.iter().filter(|(_, field)| field.searched);
                let names: Vec<&str> =
                    ["title", "description"].into_iter().chain(searched.map(|(name, _)| name.as_str())).collect();
                return refuse(format!("keyword.fields.{name}"), format!("the searched fields {}", names.join(", ")));
            }
        };
        *own_weight = own_weight.or(weight);
        *own_b = own_b.or(b);
    }
    for (modality, weight) in modality_weights {
        let Some(section) = file.encoders.get_mut(modality.name()) else {
            let names: Vec<&str> = file.encoders.keys().map(String::as_str).collect();
            return refuse(format!("modality_weights.{modality}"), format!("the modalities {}", names.join(", ")));
        };
        section.weight = section.weight.or(Some(weight));
    }
    let own = &mut file.rank_fusion;
    own.method = own.method.or(rank_fusion.method);
    own.alpha = own.alpha.or(rank_fusion.alpha);
    own.reciprocal_rank_constant = own.reciprocal_rank_constant.or(rank_fusion.reciprocal_rank_constant);
    own.depth = own.depth.or(rank_fusion.depth);
    own.keyword_first = own.keyword_first.or(rank_fusion.keyword_first);
    own.query_alpha = own.query_alpha.take().or(rank_fusion.query_alpha);
    Ok(())
}

#[cfg(test)]
mod tests {
    use schemas::manifest::RankFusionMethod;
    use schemas::ranking::{FeatureWeight, QueryFeature};

    use super::*;

    const CONFIG: &str = "ranking = 'ranking.toml'\n[store]\npath = 'store'\n[catalog]\npath = 'items.jsonl'\n\
                          [catalog.fields.brand]\ntype = 'string'\nsearched = true\n[keyword]\nk1 = 0.7\n\
                          [encoders.title]\nmodel = 'm'\n[encoders.image]\nmodel = 'm'\n";

    fn read(settings: &str) -> Result<IndexConfig, String> {
        let folder = tempfile::tempdir().unwrap();
        fs_err::write(folder.path().join("ranking.toml"), settings).unwrap();
        let parsed = IndexConfig::parse(Path::new("c.toml"), folder.path(), CONFIG, &Overrides::default());
        parsed.map_err(|error| crate::error::chain(&error))
    }

    #[test]
    fn the_file_fills_what_the_configuration_leaves_open() {
        let settings = "[keyword]\nk1 = 2.0\nmatching = 'all'\nfields.brand = { weight = 3.0 }\nfields.title = { b = 0.5 }\n\
                        [rank_fusion]\nmethod = 'z_score'\nalpha = 0.8\nkeyword_first = 10\n\
                        query_alpha.words = { weight = 0.5, middle = 0.25 }\n\
                        [modality_weights]\ntitle = 3.0\n";
        let config = read(settings).unwrap();
        assert_eq!((config.keyword.k1, config.keyword.matching), (0.7, Matching::All), "the configuration comes first");
        let fields: Vec<_> =
            config.keyword.fields.iter().map(|field| (field.name.as_str(), field.weight, field.b)).collect();
        assert_eq!(fields, [("title", 1.0, 0.5), ("description", 1.0, 0.75), ("brand", 3.0, 0.75)]);
        assert_eq!((config.rank_fusion.method, config.rank_fusion.keyword_first), (RankFusionMethod::ZScore, 10));
        assert_eq!((config.rank_fusion.alpha, config.rank_fusion.depth), (0.8, searcher::rank_fusion::DEFAULT_DEPTH));
        let words = FeatureWeight { weight: 0.5, middle: 0.25 };
        assert_eq!(config.rank_fusion.query_alpha.features, [(QueryFeature::Words, words)].into());
        assert_eq!(config.encoders.iter().map(|one| one.weight).collect::<Vec<f32>>(), [0.75, 0.25]);
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let error = |settings| read(settings).unwrap_err();
        let field = error("[keyword.fields.colour]\nweight = 2.0\n");
        assert!(field.contains("`keyword.fields.colour`") && field.contains("title, description, brand"), "{field}");
        assert!(error("[modality_weights]\ndescription = 1.0\n").contains("the modalities image, title"));
        assert!(error("[keyword]\nk3 = 1.0\n").contains("k3"));
        let alpha = "[rank_fusion.query_alpha]\nwords = { weight = 1.0, middle = 3.0 }\n";
        assert!(error(alpha).contains("`rank_fusion.query_alpha.words.middle` is 3"));
        let missing = IndexConfig::parse(Path::new("c.toml"), Path::new("/nowhere"), CONFIG, &Overrides::default());
        assert!(crate::error::chain(&missing.unwrap_err()).contains("ranking.toml"));
    }
}
